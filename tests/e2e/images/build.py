"""Builds the images of `services/Dockerfile`, without network, from what was downloaded before."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.e2e.images import wheelhouse
from tests.e2e.images.bases import Bases, bases
from tests.e2e.machine import docker
from tests.e2e.machine.places import REPOSITORY
from tests.e2e.machine.run import StepError, run, say, step
from tests.e2e.node_image.image import own_docker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SERVICES = ("scheduler", "functions", "objects", "mpi")
_SERVICES_PYTHON = "3.11"
_SBOM = "/opt/gridloom/sbom.cdx.json"
_WITH_SBOM = (*SERVICES, "front", "worker")


@dataclass(frozen=True, slots=True)
class Image:
    """One image to build: a target of the Dockerfile, for one Python."""

    target: str
    python: str

    @property
    def name(self) -> str:
        """As the chart names it; a worker's tag says its Python."""
        python = f"-py{self.python}" if self.target == "worker" else ""
        return f"gridloom/{self.target}:{wheelhouse.version()}{python}"


def every_image(pythons: Sequence[str]) -> list[Image]:
    """The services, the front, a PostgreSQL for trials, and a worker image a Python."""
    others = (*SERVICES, "front", "postgresql")
    return [
        *(Image(target, _SERVICES_PYTHON) for target in others),
        *(Image("worker", python) for python in pythons),
    ]


def build(pythons: Sequence[str] = (), worker_packages: Sequence[str] = ()) -> list[Image]:
    """Build all images; what they contain is listed in build/images/."""
    own_docker()
    images = every_image(pythons or [own_python()])
    for python in sorted({image.python for image in images}):
        context = _context(python, worker_packages)
        found = bases(python)
        for image in images:
            if image.python == python:
                _build(image, found, context)
    # What was built before and has no name any more. Layers that are used again are kept by use.
    run(["docker", "image", "prune", "--force", "--filter", "until=168h"])
    for image in images:
        _keep_sbom(image)
        size = int(run(["docker", "image", "inspect", "-f", "{{.Size}}", image.name]))
        say(f"{image.name}: {size / 1e6:.0f} MB")
    return images


def own_python() -> str:
    """The minor version of this interpreter, like "3.11"."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _context(python: str, worker_packages: Sequence[str]) -> Path:
    """The folder that docker is given: wheels, programs of the build, the front's configuration."""
    context = REPOSITORY / "build" / "images" / f"context-{python}"
    wheelhouse.fill(context, python, worker_packages)
    for name in ("images", "front"):
        shutil.rmtree(context / name, ignore_errors=True)
        shutil.copytree(REPOSITORY / "services" / name, context / name)
    return context


def _build(image: Image, found: Bases, context: Path) -> None:
    arguments = {
        "BASE": found.python,
        "BUILD_BASE": found.build,
        "FRONT_BASE": found.front,
        "POSTGRESQL_BASE": found.postgresql,
        "VERSION": wheelhouse.version(),
        "REVISION": _revision(),
    }
    options = [word for item in arguments.items() for word in ("--build-arg", "=".join(item))]
    environment = {}
    if not docker.installed():
        # The docker that is unpacked beside the system has no buildx, and no network to offer.
        options += ["--network", "none"]
        environment = {"DOCKER_BUILDKIT": "0"}
    dockerfile = REPOSITORY / "services" / "Dockerfile"
    with step(f"build {image.name}"):
        command = ["docker", "build", "--quiet", "--file", str(dockerfile), "--tag", image.name]
        run([*command, "--target", image.target, *options, str(context)], environment=environment)


def _keep_sbom(image: Image) -> None:
    if image.target in _WITH_SBOM:
        folder = REPOSITORY / "build" / "images"
        file = folder / f"{image.name.replace('/', '-').replace(':', '-')}.cdx.json"
        command = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "cat"]
        file.write_text(run([*command, image.name, _SBOM]), encoding="utf-8")


def _revision() -> str:
    try:
        return run(["git", "-C", REPOSITORY, "rev-parse", "HEAD"]).strip()
    except StepError:
        return os.environ.get("REVISION", "unknown")
