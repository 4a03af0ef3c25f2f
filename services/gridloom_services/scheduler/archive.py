"""Logs of gangs that the runtime has forgotten: files below one folder.

`FOLDER/job_x/job_x.7-a1/ROLE.INDEX.stdout`; a stream that is empty has no file.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gridloom_services.scheduler.runtime.streams import read_stream

if TYPE_CHECKING:
    from pathlib import Path

    from gridloom_services.scheduler.runtime.base import LogChunk, LogStream, Runtime


class LogArchive:
    """Takes logs over from the runtime and reads them afterwards."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Gangs whose logs are being taken, or are here while the runtime still knows the gang.
        self._taken: dict[str, asyncio.Event] = {}

    def folder_of(self, gang: str) -> Path:
        """Return where the logs of a gang are kept."""
        job_id = gang.rpartition("-a")[0].partition(".")[0]
        return self._folder / job_id / gang

    async def take(self, runtime: Runtime, gang: str) -> None:
        """Take an ended gang's logs over. May be repeated. Errors are the runtime's."""
        done = self._taken.setdefault(gang, asyncio.Event())
        try:
            await runtime.keep_logs(gang, self.folder_of(gang))
        except BaseException:
            del self._taken[gang]
            done.set()
            raise
        done.set()

    def forgotten(self, gang: str) -> None:
        """Hear that the runtime has forgotten a gang."""
        self._taken.pop(gang, None)

    async def holds(self, gang: str) -> bool:
        """Say whether a gang's logs were taken; waits where that is under way."""
        done = self._taken.get(gang)
        if done is None:
            return False
        await done.wait()
        return gang in self._taken

    def read(
        self, gang: str, role: str, index: int, stream: LogStream, offset: int, limit: int
    ) -> LogChunk:
        """Return part of a stream; a negative offset counts from its end. Nothing: it is empty."""
        path = self.folder_of(gang) / f"{role}.{index}.{stream.value}"
        return read_stream(path, offset, limit, is_over=True)
