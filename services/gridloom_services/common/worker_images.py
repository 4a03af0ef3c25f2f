"""The images in which users' Python runs where it does not share the client's machine."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from gridloom.values import dataclass

from gridloom_services.common.errors import SettingsError, VersionMismatchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PYTHONS = ("3.11", "3.12", "3.13")


@dataclass(frozen=True, slots=True)
class WorkerImages:
    """Images by minor version. None: what is run has the client's own interpreter."""

    by_python: Mapping[str, str] = field(default_factory=dict)

    def equal(self, python_version: str) -> str:
        """The image with this Python, which functions need.

        VersionMismatchError names the images that there are, where none has it.
        """
        image = self.by_python.get(python_version, "")
        if not image:
            there = ", ".join(f"{python} ({name})" for python, name in self.by_python.items())
            raise VersionMismatchError(
                f"there is no worker image for Python {python_version or '(not said)'}, only"
                f" for {there}: functions travel only between equal minor versions; use one of"
                " these on the client, or name an image of your own",
                field="python",
                given=python_version,
                allowed=", ".join(self.by_python),
            )
        return image

    def nearest(self, python_version: str) -> str:
        """The image with this Python, else the one with the newest: for programs."""
        newest = max(self.by_python, key=PYTHONS.index)
        return self.by_python.get(python_version) or self.by_python[newest]


def worker_images(pairs: Iterable[str], variable: str) -> WorkerImages:
    """Of settings: ("3.11=gridloom/worker:0.1.0-py3.11", ...). SettingsError names `variable`."""
    by_python = {}
    for pair in pairs:
        python, separator, image = pair.partition("=")
        if not separator or not image or python not in PYTHONS:
            raise SettingsError(
                f'{variable} has "{pair}"; {PYTHONS[0]}=IMAGE is expected',
                field=variable,
                given=pair,
                allowed=f"VERSION=IMAGE with the versions {', '.join(PYTHONS)}",
            )
        by_python[python] = image
    return WorkerImages(by_python)
