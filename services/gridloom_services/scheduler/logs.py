"""A job's logs, from its processes while the runtime knows them and from the archive afterwards."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gridloom.values import dataclass

from gridloom_services.common.errors import NotFoundError
from gridloom_services.scheduler.job import gang_name
from gridloom_services.scheduler.runtime.base import GangNotFoundError, LogChunk, LogStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from gridloom_services.scheduler.archive import LogArchive
    from gridloom_services.scheduler.commands import Target
    from gridloom_services.scheduler.control import Control
    from gridloom_services.scheduler.job import Job
    from gridloom_services.scheduler.runtime.base import Runtime
    from gridloom_services.scheduler.store.base import Store

CHUNK_BYTES = 256 * 1024
# What a reader that is behind holds in memory at most, in chunks.
_AHEAD = 16
_WAIT_S = 20.0
# Between looks at a stream whose runtime does not wait.
_PAUSE_S = 0.05
_TAIL_BYTES = 64 * 1024
_LONGEST_TAIL_BYTES = 16 * 1024 * 1024
BOTH = (LogStream.STDOUT, LogStream.STDERR)


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which part of a job's logs. `index` None: every replica; `attempt` 0: the newest."""

    role: str = ""
    index: int | None = None
    streams: tuple[LogStream, ...] = BOTH
    offset: int = 0
    tail_lines: int = 0
    follow: bool = False
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """One stream of one replica of one attempt. `index` is the one that holds the output."""

    gang: str
    element: int
    attempt: int
    role: str
    index: int
    stream: LogStream


@dataclass(frozen=True, slots=True)
class LogPart:
    """Some bytes of a source, and where they begin."""

    source: Source
    offset: int
    data: bytes


def first_of_last_lines(data: bytes, lines: int) -> int | None:
    """Return where in `data` its last lines begin; None: `data` has fewer than that."""
    end = len(data)
    if data.endswith(b"\n"):
        end -= 1
    for _ in range(lines):
        end = data.rfind(b"\n", 0, end)
        if end < 0:
            return None
    return end + 1


class LogReader:
    """Reads logs wherever they are, each byte of a stream once and in order."""

    def __init__(
        self, control: Control, store: Store, runtime: Runtime, archive: LogArchive
    ) -> None:
        self._control = control
        self._store = store
        self._runtime = runtime
        self._archive = archive

    async def read(self, target: Target, query: LogQuery) -> AsyncIterator[LogPart]:
        """Yield what the query asks for; with `follow`, until the job is over and all is read."""
        if query.follow:
            async for part in self._follow(target, query):
                yield part
            return
        for source in await self._sources(target, query):
            offset = await self._start(source, query)
            while True:
                chunk = await self._chunk(source, offset, 0.0)
                if chunk.data:
                    yield LogPart(source, chunk.offset, chunk.data)
                offset = chunk.next_offset
                if chunk.complete or not chunk.data:
                    break

    # ---- following

    async def _follow(self, target: Target, query: LogQuery) -> AsyncIterator[LogPart]:
        parts: asyncio.Queue[LogPart | None] = asyncio.Queue(_AHEAD)
        discovery = asyncio.create_task(self._discover(target, query, parts))
        try:
            while (part := await parts.get()) is not None:
                yield part
            await discovery
        finally:
            discovery.cancel()

    async def _discover(
        self, target: Target, query: LogQuery, parts: asyncio.Queue[LogPart | None]
    ) -> None:
        """Read every source of the job into `parts`, those that come later too, then None."""
        seen: set[Source] = set()
        try:
            async with asyncio.TaskGroup() as group:
                async for sources in self._news(target, query):
                    for source in sources:
                        if source not in seen:
                            start = await self._start(source, query)
                            group.create_task(self._pump(source, start, parts))
                    seen.update(sources)
                    # What begins later is read from its beginning.
                    query = LogQuery(query.role, query.index, query.streams, follow=True)
        finally:
            await parts.put(None)

    async def _news(self, target: Target, query: LogQuery) -> AsyncIterator[list[Source]]:
        """Yield the sources that there are, again whenever there may be more, until the end."""
        before: object = None
        while True:
            beat = self._control.pulse.event()
            board = self._control.core.board
            job = board.jobs.get(target.job.id)
            gangs = [] if job is None else board.gangs_of(job)
            now = [(gang.live.name, len(gang.statuses)) for gang in gangs]
            if job is None or now != before:
                (target,) = await self._control.targets([target.id])
                yield await self._sources(target, query)
            # What is over in memory may not be on disk yet: its last sources come with the commit.
            if target.job.state.is_final or query.attempt:
                return
            before = now
            await beat.wait()

    async def _pump(
        self, source: Source, offset: int, parts: asyncio.Queue[LogPart | None]
    ) -> None:
        while True:
            chunk = await self._chunk(source, offset, _WAIT_S)
            if chunk.data:
                await parts.put(LogPart(source, chunk.offset, chunk.data))
            offset = chunk.next_offset
            if chunk.complete:
                return
            if not chunk.data:
                await asyncio.sleep(_PAUSE_S)

    # ---- one stream

    async def _start(self, source: Source, query: LogQuery) -> int:
        """Return the offset from which a source is read."""
        if not query.tail_lines:
            return query.offset
        size = _TAIL_BYTES
        while True:
            chunk = await self._chunk(source, -size, 0.0, limit=size)
            found = first_of_last_lines(chunk.data, query.tail_lines)
            if found is not None:
                return chunk.offset + found
            if chunk.offset == 0 or size >= _LONGEST_TAIL_BYTES:
                return chunk.offset
            size *= 4

    async def _chunk(
        self, source: Source, offset: int, wait_s: float, limit: int = CHUNK_BYTES
    ) -> LogChunk:
        where = (source.gang, source.role, source.index, source.stream, offset, limit)
        if await self._archive.holds(source.gang):
            return await self._archive.read(*where)
        try:
            chunk = await self._runtime.logs(*where, wait_s)
        except GangNotFoundError:
            return await self._archive.read(*where)
        if not chunk.data and await self._archive.holds(source.gang):
            return await self._archive.read(*where)  # they were moved while the runtime looked
        return chunk

    # ---- which streams

    async def _sources(self, target: Target, query: LogQuery) -> list[Source]:
        job = target.job
        members: dict[tuple[int, int], set[tuple[str, int, int]]] = {}
        for end in await self._store.ends(job.sequence, target.element):
            replicas = {(each.role, each.index, each.log_index) for each in end.replicas}
            members[end.element, end.attempt] = replicas
        for element, attempt, replicas in self._live(job, target.element):
            members[element, attempt] = replicas
        chosen = _chosen(members, query)
        if query.attempt and not chosen:
            raise _no_attempt(target, query.attempt, {attempt for _, attempt in members})
        return [
            source
            for (element, attempt), replicas in sorted(chosen.items())
            for source in _streams(job, element, attempt, replicas, query)
        ]

    def _live(
        self, job: Job, element: int | None
    ) -> Iterable[tuple[int, int, set[tuple[str, int, int]]]]:
        board = self._control.core.board
        if job.id not in board.jobs:
            return
        for gang in board.gangs_of(board.jobs[job.id]):
            if element in {None, gang.live.element}:
                replicas = {
                    (each.role, each.index, each.log_index) for each in gang.statuses.values()
                }
                yield gang.live.element, gang.live.attempt, replicas


def _chosen(
    members: dict[tuple[int, int], set[tuple[str, int, int]]], query: LogQuery
) -> dict[tuple[int, int], set[tuple[str, int, int]]]:
    """Return the attempts that the query asks for: one number, or the newest of each element."""
    newest: dict[int, int] = {}
    for element, attempt in members:
        newest[element] = max(attempt, newest.get(element, 0))
    return {
        (element, attempt): replicas
        for (element, attempt), replicas in members.items()
        if attempt == (query.attempt or newest[element])
    }


def _no_attempt(target: Target, asked: int, known: set[int]) -> NotFoundError:
    """It was never made: what there is instead."""
    there_is = ", ".join(map(str, sorted(known))) or "none so far"
    return NotFoundError(
        f"{target.id} has had no attempt {asked}; its attempts: {there_is}",
        field="attempt",
        given=asked,
        allowed=there_is,
    )


def _streams(
    job: Job, element: int, attempt: int, replicas: set[tuple[str, int, int]], query: LogQuery
) -> list[Source]:
    gang = gang_name(job, element, attempt)
    holders = {
        (role, log_index)
        for role, index, log_index in replicas
        if query.role in {"", role} and query.index in {None, index}
    }
    return [
        Source(gang, element, attempt, role, index, stream)
        for role, index in sorted(holders)
        for stream in query.streams
    ]
