"""The bases of the images: a Debian that is given, one from a registry, or one made here."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.machine import docker
from tests.e2e.machine.debian import root_folder
from tests.e2e.machine.places import key_of, run_folder
from tests.e2e.machine.run import StepError, run, step, succeeds
from tests.e2e.node_image.components import import_folder

_PLAIN = "debian:bookworm-slim"
_PYTHON = ("python3-minimal", "libpython3-stdlib", "ca-certificates")
# What debootstrap always includes and no service ever runs; its records go too, so that a bill of
# materials tells the truth.
_NOT_NEEDED = (
    *("apt", "libapt-pkg6.0", "libapt-pkg7.0", "gpgv", "debian-archive-keyring", "perl-base"),
    *("e2fsprogs", "logsave", "libext2fs2", "libext2fs2t64", "mount", "login", "adduser"),
    *("util-linux-extra", "debconf", "tzdata", "libgnutls30", "libgnutls30t64", "libp11-kit0"),
    *("libhogweed6", "libhogweed6t64", "libdb5.3", "libdb5.3t64", "libunistring2", "libidn2-0"),
)
# PostgreSQL compiles queries with them, which trials do without; what Debian's scripts around it
# need, the chart does not use.
_NOT_FOR_TRIALS = ("libllvm14", "libz3-4", "libperl5.36", "perl-modules-5.36", "perl", "locales")
# Which release of Debian has which Python.
_SUITES = {"3.11": "bookworm", "3.13": "trixie"}


@dataclass(frozen=True, slots=True)
class Bases:
    """Names of images in docker."""

    python: str
    build: str
    front: str
    postgresql: str


def bases(python: str) -> Bases:
    """`BASE` from the environment for all; else a plain Debian, where docker can pull one; else
    minimal ones made by debootstrap, each with the packages that its image needs."""
    given = os.environ.get("BASE")
    if given:
        return Bases(given, given, given, given)
    if docker.installed() and succeeds(["docker", "pull", "--quiet", _PLAIN]):
        pythons = f"python:{python}-slim-bookworm"
        return Bases(pythons, pythons, _PLAIN, _PLAIN)
    if python not in _SUITES:
        known = " and ".join(_SUITES)
        raise StepError(f"Debian has Python {known}, not {python}: name a base that has it in BASE")
    return Bases(
        _made("python", _SUITES[python], _PYTHON, without=_NOT_NEEDED),
        _made("build", _SUITES[python], (*_PYTHON, "binutils", "busybox-static")),
        _made("nginx", "bookworm", ("nginx", "ca-certificates")),
        _made("postgresql", "bookworm", ("postgresql",), without=_NOT_FOR_TRIALS),
    )


def _made(name: str, suite: str, packages: tuple[str, ...], without: tuple[str, ...] = ()) -> str:
    image = f"gridloom-base/{name}:{suite}-{key_of(*packages, *without)}"
    if succeeds(["docker", "image", "inspect", image]):
        return image
    folder = root_folder(suite, packages)
    with step(f"import {image}"), tempfile.TemporaryDirectory(dir=run_folder()) as work:
        small = Path(work) / "root"
        run(["cp", "-a", "--reflink=auto", folder, small])
        if without:
            _purge(small, without)
        import_folder(small, image)
    return image


def _purge(root: Path, packages: tuple[str, ...]) -> None:
    """Remove those of `packages` that there are, whatever else names them."""
    names = run(["chroot", root, "dpkg-query", "-W", "-f", "${Package}\n"]).split()
    present = [name for name in packages if name in names]
    # Their scripts may need one another: the records are what is wanted.
    for script in (root / "var/lib/dpkg/info").glob("*.p*rm"):
        script.unlink()
    run(["chroot", root, "dpkg", "--purge", "--force-all", *present])
    # Without its library it would be found, and fail.
    for library in root.glob("usr/lib/postgresql/*/lib/llvmjit*"):
        library.unlink()
