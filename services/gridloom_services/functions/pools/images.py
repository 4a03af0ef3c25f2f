"""Which image a pool's workers run in where they do not share the client's machine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gridloom_services.common.worker_images import WorkerImages
    from gridloom_services.functions.pools.spec import PoolSpec


def in_image(spec: PoolSpec, images: WorkerImages) -> PoolSpec:
    """The specification with its image, and with that image's Python.

    VersionMismatchError names the images that there are, where none has the client's Python.
    """
    if not images.by_python:
        return spec
    return replace(spec, image=spec.image or images.equal(spec.python_version), python="")
