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

# What each image takes of the platform's extras; a worker takes the client alone.
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "scheduler": ("scheduler", "postgresql"),
    "functions": ("functions", "postgresql"),
    "objects": ("objects", "postgresql"),
}
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

    `python` is the minor version of the images, like "3.11". Wheels that are no longer needed go.
    """
    with step(f"wheelhouse for Python {python}"):
        own, others = context / "own", context / "wheels"
        for folder in (own, others):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        for project in (_CLIENT, REPOSITORY):
            run([*_PIP, "wheel", "--no-deps", "--wheel-dir", own, project])
        needed = needs(worker_packages)
        for name, lines in needed.items():
            (others / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
        run(
            [
                *_PIP,
                *("download", "--only-binary", ":all:", "--dest", str(others)),
                *("--python-version", python, "--implementation", "cp"),
                *_platforms(),
                *("pip", *sorted({line for lines in needed.values() for line in lines})),
            ]
        )


def needs(worker_packages: Sequence[str]) -> dict[str, list[str]]:
    """What each image has to have of others' distributions, by the image's name."""
    client, platform = _project(_CLIENT), _project(REPOSITORY)
    found = {
        name: {*client["dependencies"], *platform["dependencies"], *_extras(platform, extras)}
        for name, extras in EXTRAS.items()
    }
    found["worker"] = {*client["dependencies"], *worker_packages}
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
