"""Debian's packages without installing any: unpacked beside the system, or as a new root folder.

The mirror is the one that this machine's apt is set up for; nothing that is made names it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from tests.e2e.machine.places import cache, key_of
from tests.e2e.machine.run import StepError, run, step

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_LEFT_OUT = ("var/log", "var/lib/apt/lists", "var/cache/apt", "usr/share/doc", "usr/share/man")
_LEFT_OUT_TOO = ("usr/share/locale", "usr/share/info", "usr/share/lintian")


def mirror() -> str:
    """`E2E_DEBIAN_MIRROR`, else where this machine's apt takes Debian's packages from."""
    given = os.environ.get("E2E_DEBIAN_MIRROR")
    if given:
        return given
    addresses = run(["apt-get", "indextargets", "--format", "$(REPO_URI)"]).split()
    found = next((address for address in addresses if address.endswith("/debian/")), None)
    if found is None:
        raise StepError("apt knows no mirror of Debian here: name one in E2E_DEBIAN_MIRROR")
    return found


def side_load(folder: Path, packages: Sequence[str], suites: Sequence[str]) -> None:
    """Unpack packages (NAME or NAME/SUITE) into `folder`; the first suite is preferred."""
    state = folder.with_name(f"{folder.name}.apt")
    environment = {"APT_CONFIG": str(_private_apt(state, suites))}
    run(["apt-get", "-qq", "update"], environment=environment)
    run(["apt-get", "-qq", "download", *packages], folder=state, environment=environment)
    for package in state.glob("*.deb"):
        run(["dpkg", "-x", package, folder])
    shutil.rmtree(state)


def _private_apt(state: Path, suites: Sequence[str]) -> Path:
    """An apt configuration with lists and sources of its own: the system's stay as they are."""
    shutil.rmtree(state, ignore_errors=True)
    for part in ("lists/partial", "cache/archives/partial", "sources"):
        (state / part).mkdir(parents=True)
    (state / "sources" / "debian.sources").write_text(
        f"Types: deb\nURIs: {mirror()}\nSuites: {' '.join(suites)}\nComponents: main\n"
        f"Signed-By: {KEYRING}\n"
    )
    configuration = state / "apt.conf"
    configuration.write_text(
        f'Dir::Etc::SourceList "/dev/null";\nDir::Etc::SourceParts "{state}/sources";\n'
        f'Dir::State::Lists "{state}/lists";\nDir::Cache "{state}/cache";\n'
        f'APT::Default-Release "{suites[0]}";\nAPT::Sandbox::User "root";\n'
        'Acquire::Languages "none";\n'
    )
    return configuration


def root_folder(suite: str, packages: Sequence[str]) -> Path:
    """A root file system of `suite` with `packages`, from the cache or made by debootstrap.

    No address of a mirror, no package lists and no documents stay in it. Packages are included by
    debootstrap rather than unpacked later: `dpkg -x` into a root with merged /usr would turn the
    link /bin into a folder.
    """
    folder = cache() / f"root-{suite}-{key_of(suite, *packages)}"
    if not folder.is_dir():
        with step(f"debootstrap {suite} ({', '.join(packages)})"):
            _debootstrap(folder, suite, packages)
    return folder


def _debootstrap(folder: Path, suite: str, packages: Sequence[str]) -> None:
    part = folder.with_name(f"{folder.name}.part")
    _remove(part)
    part.parent.mkdir(parents=True, exist_ok=True)
    program = _debootstrap_program()
    run(
        [
            *(program / "usr/sbin/debootstrap", "--variant=minbase", f"--keyring={KEYRING}"),
            *(f"--include={','.join(packages)}", suite, part, mirror()),
        ],
        environment={"DEBOOTSTRAP_DIR": str(program / "usr/share/debootstrap")},
    )
    (part / "etc/apt/sources.list").write_text("")
    for left_out in (*_LEFT_OUT, *_LEFT_OUT_TOO):
        shutil.rmtree(part / left_out, ignore_errors=True)
    for needed in ("var/log", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial"):
        (part / needed).mkdir(parents=True, exist_ok=True)
    part.rename(folder)


def _debootstrap_program() -> Path:
    """A folder that has debootstrap in it, unpacked there if this machine has none."""
    folder = cache() / "debootstrap"
    if not folder.is_dir():
        part = folder.with_name("debootstrap.part")
        part.mkdir(parents=True, exist_ok=True)
        side_load(part, ["debootstrap"], ["bookworm"])
        part.rename(folder)
    return folder


def _remove(folder: Path) -> None:
    """Remove a half-made root; what debootstrap mounted in it first."""
    for inside in ("proc", "sys"):
        subprocess.run(["umount", folder / inside], capture_output=True, check=False)
    if folder.is_dir():
        shutil.rmtree(folder)
