"""The scheduler's streams of answers: watches, demand, logs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from gridloom.api.scheduler.v1 import scheduler_pb2

from gridloom_services.common.errors import UnavailableError
from gridloom_services.scheduler.demand import watch_demand
from gridloom_services.scheduler.messages import demand_message, job_message
from gridloom_services.scheduler.runtime.base import LogStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gridloom_services.scheduler.commands import Target
    from gridloom_services.scheduler.control import Control
    from gridloom_services.scheduler.job import Job
    from gridloom_services.scheduler.logs import LogQuery, LogReader
    from gridloom_services.scheduler.query import JobQuery

T = TypeVar("T")

SNAPSHOT_PAGE = 500
_STREAMS = {
    LogStream.STDOUT: scheduler_pb2.LOG_STREAM_STDOUT,
    LogStream.STDERR: scheduler_pb2.LOG_STREAM_STDERR,
}


async def until(stop: asyncio.Event, source: AsyncIterator[T]) -> AsyncIterator[T]:
    """Yield what `source` does until `stop` is set; then UnavailableError: clients come again."""
    stopped = asyncio.ensure_future(stop.wait())
    following: asyncio.Future[T] | None = None
    try:
        while True:
            following = asyncio.ensure_future(anext(source))
            await asyncio.wait({following, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                raise UnavailableError("the platform is stopping")
            try:
                yield following.result()
            except StopAsyncIteration:
                return
    finally:
        stopped.cancel()
        if following is not None:
            following.cancel()
            await asyncio.wait([following])


class JobWatcher:
    """The present state of what a filter matches, then its changes."""

    def __init__(self, control: Control, query: JobQuery) -> None:
        self._control = control
        self._query = query
        # Jobs that were told of and matched: what they become is told even if it no longer does.
        self._told: set[str] = set()

    async def watch(self, from_revision: int) -> AsyncIterator[scheduler_pb2.WatchJobsResponse]:
        """Yield from a revision on; 0: the present state first."""
        hub = self._control.hub
        if from_revision:
            await hub.check(from_revision)
            revision = from_revision
        else:
            revision = hub.revision
            async for message in self._present():
                yield message
            yield scheduler_pb2.WatchJobsResponse(revision=revision, synced=True)
        async for changes in hub.follow(revision):
            wanted = [change for change in changes if self._is_wanted(change.job)]
            views = await self._control.views.listed([change.job for change in wanted])
            for change, view in zip(wanted, views, strict=True):
                yield scheduler_pb2.WatchJobsResponse(
                    revision=change.revision, job=job_message(view)
                )

    async def _present(self) -> AsyncIterator[scheduler_pb2.WatchJobsResponse]:
        before: int | None = None
        while True:
            jobs = await self._control.page(self._query, before, SNAPSHOT_PAGE)
            self._told.update(job.id for job in jobs if not job.state.is_final)
            for view in await self._control.views.listed(jobs):
                yield scheduler_pb2.WatchJobsResponse(
                    revision=view.job.revision, job=job_message(view), snapshot=True
                )
            if len(jobs) < SNAPSHOT_PAGE:
                return
            before = jobs[-1].sequence

    def _is_wanted(self, job: Job) -> bool:
        matches = self._query.matches(job)
        wanted = matches or job.id in self._told
        if matches and not job.state.is_final:
            self._told.add(job.id)
        else:
            self._told.discard(job.id)
        return wanted


async def demand_messages(
    control: Control, except_jobs: frozenset[str]
) -> AsyncIterator[scheduler_pb2.WatchDemandResponse]:
    """Yield the demand, now and at each change."""
    async for found in watch_demand(control, except_jobs):
        yield demand_message(found)


async def log_messages(
    reader: LogReader, target: Target, query: LogQuery
) -> AsyncIterator[scheduler_pb2.ReadLogsResponse]:
    """Yield the parts of a job's logs."""
    array = target.job.spec.array
    async for part in reader.read(target, query):
        source = part.source
        yield scheduler_pb2.ReadLogsResponse(
            role=source.role,
            index=source.index,
            stream=_STREAMS[source.stream],
            offset=part.offset,
            data=part.data,
            attempt=source.attempt,
            element=0 if array is None else array.number(source.element),
        )
