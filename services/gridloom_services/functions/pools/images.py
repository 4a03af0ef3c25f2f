"""The images that workers run in where they do not share the client's machine: one a Python."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING

from gridloom.values import dataclass

from gridloom_services.common.errors import SettingsError, VersionMismatchError
from gridloom_services.functions.pools.spec import PYTHONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gridloom_services.functions.pools.spec import PoolSpec


@dataclass(frozen=True, slots=True)
class WorkerImages:
    """Images by minor version. None: workers run with the client's own interpreter."""

    by_python: Mapping[str, str] = field(default_factory=dict)

    def chosen(self, spec: PoolSpec) -> PoolSpec:
        """The specification with its image, and with that image's Python.

        VersionMismatchError names the images that there are, where none has the client's Python.
        """
        if not self.by_python:
            return spec
        image = spec.image or self.by_python.get(spec.python_version, "")
        if not image:
            there = ", ".join(f"{python} ({name})" for python, name in self.by_python.items())
            raise VersionMismatchError(
                f"there is no worker image for Python {spec.python_version or '(not said)'}, only"
                f" for {there}: functions travel only between equal minor versions; use one of"
                " these on the client, or name an image of your own",
                field="python",
                given=spec.python_version,
                allowed=", ".join(self.by_python),
            )
        return replace(spec, image=image, python="")


def worker_images(pairs: Iterable[str]) -> WorkerImages:
    """Of settings: ("3.11=gridloom/worker:0.1.0-py3.11", ...). SettingsError where it is none."""
    by_python = {}
    for pair in pairs:
        python, separator, image = pair.partition("=")
        if not separator or not image or python not in PYTHONS:
            raise SettingsError(
                f'GRIDLOOM_FUNCTIONS_WORKER_IMAGES has "{pair}"; {PYTHONS[0]}=IMAGE is expected',
                field="GRIDLOOM_FUNCTIONS_WORKER_IMAGES",
                given=pair,
                allowed=f"VERSION=IMAGE with the versions {', '.join(PYTHONS)}",
            )
        by_python[python] = image
    return WorkerImages(by_python)
