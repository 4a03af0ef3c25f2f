"""Logs of gangs that the runtime has forgotten.

Streams that the runtime had on this machine are files below one folder:
`FOLDER/job_x/job_x.7-a1/ROLE.INDEX.stdout`; one that is empty has no file. Of those that lie in the
object store, as pods leave them, the database says where. They are kept there for the job.
"""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING, Protocol

from gridloom_services.scheduler.job import KeptStream
from gridloom_services.scheduler.runtime.base import LogChunk
from gridloom_services.scheduler.runtime.streams import missing_part, read_stream

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gridloom_services.scheduler.runtime.base import LogStream, Runtime, StoredStream

_GONE = b"[gridloom: this output is not stored any more]\n"


class StreamTable(Protocol):
    """Who remembers where streams are: the store."""

    async def keep_streams(self, gang: str, streams: Mapping[str, KeptStream]) -> None:
        """Keep by gang and name where streams are. Durable; again: the same."""

    async def kept_stream(self, gang: str, name: str) -> KeptStream | None:
        """Return where a stream is; None: it was not kept."""


class StreamStore(Protocol):
    """Who has the streams: the objects service. UnavailableError where it does not answer."""

    async def hold(self, holder: str, digests: frozenset[str]) -> None:
        """Keep objects for `holder`."""

    async def sizes(self, digests: frozenset[str]) -> dict[str, int]:
        """Return the sizes in bytes of those that exist."""

    async def piece(self, digest: str, offset: int, length: int) -> bytes:
        """Return bytes of an object. LookupError: there is none."""


class LogArchive:
    """Takes logs over from the runtime and reads them afterwards."""

    def __init__(self, folder: Path, table: StreamTable, objects: StreamStore) -> None:
        self._folder = folder
        self._table = table
        self._objects = objects
        # Gangs whose logs are being taken, or are here while the runtime still knows the gang.
        self._taken: dict[str, asyncio.Event] = {}

    def folder_of(self, gang: str) -> Path:
        """Return where the files of a gang are kept."""
        return self._folder / _job_of(gang) / gang

    async def take(self, runtime: Runtime, gang: str) -> None:
        """Take an ended gang's logs over. May be repeated. Errors are the runtime's.

        UnavailableError where streams in the object store cannot be kept now.
        """
        done = self._taken.setdefault(gang, asyncio.Event())
        try:
            stored = await runtime.keep_logs(gang, self.folder_of(gang))
            if stored:
                await self._keep(gang, stored)
        except BaseException:
            del self._taken[gang]
            done.set()
            raise
        done.set()

    async def _keep(self, gang: str, stored: Mapping[str, StoredStream]) -> None:
        digests = frozenset(each.digest for each in stored.values())
        # Held first: what has a size then stays.
        await self._objects.hold(logs_holder(_job_of(gang)), digests)
        sizes = await self._objects.sizes(digests)
        kept = {
            name: KeptStream(each, sizes[each.digest])
            for name, each in stored.items()
            if each.digest in sizes
        }
        await self._table.keep_streams(gang, kept)

    async def remove(self, job_id: str) -> None:
        """Remove the files of a job that is gone."""
        await asyncio.to_thread(shutil.rmtree, self._folder / job_id, ignore_errors=True)

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

    async def read(
        self, gang: str, role: str, index: int, stream: LogStream, offset: int, limit: int
    ) -> LogChunk:
        """Return part of a stream; a negative offset counts from its end. Nothing: it is empty.

        UnavailableError where it lies in the object store, and that does not answer.
        """
        name = f"{role}.{index}.{stream.value}"
        path = self.folder_of(gang) / name
        if not path.exists():
            kept = await self._table.kept_stream(gang, name)
            if kept is not None:
                return await self._read_stored(kept, offset, limit)
        return read_stream(path, offset, limit, is_over=True)

    async def _read_stored(self, kept: KeptStream, offset: int, limit: int) -> LogChunk:
        """As `read_stream` does; in the object the part behind the gap follows the one before."""
        gap = kept.stored
        begin = max(0, kept.length + offset) if offset < 0 else offset
        if gap.first <= begin < gap.end:
            return LogChunk(missing_part(gap.end - begin), begin, gap.end, complete=False)
        upto = gap.first if begin < gap.first else kept.length
        count = max(0, min(limit, upto - begin))
        place = begin if begin < gap.end else begin - (gap.end - gap.first)
        try:
            data = await self._objects.piece(gap.digest, place, count) if count else b""
        except LookupError:
            return LogChunk(_GONE if offset <= 0 else b"", begin, kept.length, complete=True)
        after = begin + len(data)
        return LogChunk(data, begin, after, after >= kept.length)


def logs_holder(job_id: str) -> str:
    """Return who keeps a job's logs in the object store."""
    return f"{job_id}/logs"


def _job_of(gang: str) -> str:
    return gang.rpartition("-a")[0].partition(".")[0]
