"""The user's own modules where they are used: unpacked once, and one bundle's at a time.

Two clients may have modules of the same name that differ. A worker that runs functions of both
changes over: the modules of the one leave `sys.modules` and `sys.path`, those of the other return.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gridloom.errors import StorageFullError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

_FULL = {errno.ENOSPC, errno.EDQUOT}
_PATIENCE_S = 60.0
_PAUSE_S = 0.2


class ModuleShelf:
    """Bundles by digest, below a folder that the workers of a pool share."""

    def __init__(
        self,
        folder: Path,
        fetch: Callable[[str], bytes | bytearray | memoryview],
        patience_s: float = _PATIENCE_S,
    ) -> None:
        """So long it waits for room on a full disk; then StorageFullError."""
        self._folder = folder
        self._patience_s = patience_s
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
        place = self._place(digest)
        if place.is_dir():
            return place
        data = self._fetch(digest)
        ends_at = time.monotonic() + self._patience_s
        while not self._has_room_for(place, data):
            if time.monotonic() >= ends_at:
                raise StorageFullError(
                    f"the disk of this worker has no room for {len(data)} bytes of modules, for"
                    f" {self._patience_s:g} s now: make room below {self._folder}, then submit"
                    " again",
                    given=len(data),
                )
            time.sleep(_PAUSE_S)
        return place

    def _has_room_for(self, place: Path, data: bytes | bytearray | memoryview) -> bool:
        """Whether it could be unpacked; a full disk is the platform's trouble, not the user's."""
        try:
            self._unpack(place, data)
        except OSError as error:
            if error.errno in _FULL:
                return place.is_dir()
            if not place.is_dir():  # else another worker was faster
                raise
        return True

    def _unpack(self, place: Path, data: bytes | bytearray | memoryview) -> None:
        import shutil
        import tempfile
        import zipfile

        self._folder.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                archive.extractall(aside)
            aside.rename(place)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
