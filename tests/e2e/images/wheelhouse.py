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
    from collections.abc import Sequence
    from pathlib import Path

EXTRAS = ("scheduler", "functions", "objects", "postgresql")
_PLATFORMS = ("manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014")
_PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


def version() -> str:
    """The version of both distributions."""
    return str(_project(REPOSITORY)["version"])


def demo_packages() -> list[str]:
    """What the demo's functions and jobs import: workers of a trial have it."""
    packages: list[str] = _project(REPOSITORY)["optional-dependencies"]["demo"]
    return packages


def fill(folder: Path, python: str, worker_packages: Sequence[str]) -> None:
    """Have in `folder` the wheels of the services, of workers with their packages, and of pip.

    `python` is the minor version of the images, like "3.11". Wheels that are no longer needed go.
    """
    with step(f"wheelhouse for Python {python}"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for project in (REPOSITORY / "clients" / "python", REPOSITORY):
            run([*_PIP, "wheel", "--no-deps", "--wheel-dir", folder, project])
        requirements = [f"gridloom-platform[{','.join(EXTRAS)}]=={version()}", *worker_packages]
        run(
            [
                *_PIP,
                *("download", "--only-binary", ":all:", "--dest", str(folder)),
                *("--python-version", python, "--implementation", "cp"),
                *_platforms(),
                *("--find-links", str(folder), "pip", *requirements),
            ]
        )


def _platforms() -> list[str]:
    machine = run(["uname", "-m"]).strip()
    return [word for name in _PLATFORMS for word in ("--platform", f"{name}_{machine}")]


def _project(folder: Path) -> dict[str, Any]:
    text = (folder / "pyproject.toml").read_text(encoding="utf-8")
    project: dict[str, Any] = tomllib.loads(text)["project"]
    return project
