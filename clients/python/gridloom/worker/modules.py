"""The user's own modules where they are used: unpacked once, and one bundle's at a time.

Two clients may have modules of the same name that differ. A worker that runs functions of both
changes over: the modules of the one leave `sys.modules` and `sys.path`, those of the other return.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


class ModuleShelf:
    """Bundles by digest, below a folder that the workers of a pool share."""

    def __init__(self, folder: Path, fetch: Callable[[str], bytes | bytearray]) -> None:
        self._folder = folder
        self._fetch = fetch
        self._active = ""
        self._resting: dict[str, dict[str, ModuleType]] = {}

    def activate(self, digest: str) -> None:
        """Make this bundle's modules importable, and no other's. Empty: none."""
        if digest == self._active:
            return
        place = self._unpacked(digest) if digest else None
        self._rest()
        self._active = digest
        if place is not None:
            sys.path.insert(0, str(place))
            sys.modules.update(self._resting.pop(digest, {}))
            importlib.invalidate_caches()

    def _rest(self) -> None:
        """Put the active bundle's modules aside."""
        if not self._active:
            return
        place = str(self._place(self._active))
        with contextlib.suppress(ValueError):  # the user may have changed the path
            sys.path.remove(place)
        below = f"{place}/"
        self._resting[self._active] = {
            name: module
            for name, module in list(sys.modules.items())
            if str(getattr(module, "__file__", None) or "").startswith(below)
        }
        for name in self._resting[self._active]:
            del sys.modules[name]

    def _place(self, digest: str) -> Path:
        return self._folder / digest.replace(":", "-")

    def _unpacked(self, digest: str) -> Path:
        import shutil
        import tempfile
        import zipfile

        place = self._place(digest)
        if place.is_dir():
            return place
        self._folder.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            with zipfile.ZipFile(io.BytesIO(self._fetch(digest))) as archive:
                archive.extractall(aside)
            aside.rename(place)
        except OSError:
            if not place.is_dir():  # else another worker was faster
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return place
