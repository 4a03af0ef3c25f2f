"""One process a folder."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Self

from gridloom_services.common.errors import FolderInUseError

if TYPE_CHECKING:
    from pathlib import Path


class FolderLock:
    """Held as long as this process lives, however it ends; the file has the holder's pid."""

    def __init__(self, folder: Path) -> None:
        """Take it. FolderInUseError names the process that has it."""
        path = folder / "lock"
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise FolderInUseError(
                f"another process (pid {holder}) works in {folder}: stop it, or choose another"
                " folder with GRIDLOOM_HOME or --home",
                field="home",
                given=folder,
                pid=holder,
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another process in."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
