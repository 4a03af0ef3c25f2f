"""The asyncio face: `client = await gridloom.aio.connect()`, then the names of `Client`, awaited.

Lists that are read as they are asked for (`jobs`, `watch`, `logs`, `events`) are for `async for`.
"""

from __future__ import annotations

import asyncio
import threading
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from gridloom import connecting, ids, inventory, units
from gridloom.async_channel import AsyncConnection
from gridloom.jobs import listing, operations
from gridloom.jobs import projects as project_operations
from gridloom.jobs import queues as queue_operations
from gridloom.jobs.async_handle import AsyncJob
from gridloom.jobs.dependencies import Dependencies, flat, handles_by_id, job_ids
from gridloom.jobs.filters import JobFilter, filter_message
from gridloom.jobs.handle import limit_s
from gridloom.jobs.waiting import shown
from gridloom.jobs.watch import JobWatch

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from gridloom.access.face import AsyncAccess
    from gridloom.calls.async_future import AsyncCallFuture, AsyncMapResults
    from gridloom.calls.async_pool import AsyncPool
    from gridloom.calls.client import Calls
    from gridloom.calls.options import PoolOptions
    from gridloom.calls.pool import Pool
    from gridloom.client import Client
    from gridloom.inventory import FunctionInfo, PoolInfo
    from gridloom.jobs.info import JobChange, JobInfo, NodeInfo, ProjectInfo, QueueInfo
    from gridloom.jobs.options import JobOptions, JobRequest
    from gridloom.jobs.projects import ProjectOptions
    from gridloom.jobs.queues import QueueOptions
    from gridloom.jobs.role import Command
    from gridloom.mpi_jobs.face import AsyncMpi
    from gridloom.operation import Operation
    from gridloom.options import Defaults
    from gridloom.studies.options import StudyWords
    from gridloom.studies.study import ScalingStudy

T = TypeVar("T")


async def connect(
    address: str | None = None,
    *,
    api_key: str | None = None,
    context: str | None = None,
    home: str | os.PathLike[str] | None = None,
    project: str | None = None,
    queue: str | None = None,
    timeout: units.Duration | None = None,  # noqa: ASYNC109  # of each request to come
) -> AsyncClient:
    """A client for the running event loop, of the platform meant. See `gridloom.connect`."""
    client = await asyncio.to_thread(
        connecting.connect,
        address,
        api_key=api_key,
        context=context,
        home=home,
        project=project,
        queue=queue,
        timeout=timeout,
    )
    return AsyncClient(client)


class AsyncClient:
    """A platform, for one event loop. It owns the synchronous client under it (`sync`)."""

    def __init__(self, client: Client) -> None:
        self.sync = client
        self.connection = AsyncConnection(client.connection)

    @property
    def name(self) -> str:
        """The platform's home folder or address."""
        return self.sync.name

    def __repr__(self) -> str:
        return f"<gridloom.aio.AsyncClient of {self.name}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection. What was submitted goes on."""
        await self.connection.close()
        await asyncio.to_thread(self.sync.close)

    async def get(self, identifier: str) -> Any:
        """The handle of a job, array element, call, group or pool, whoever submitted it."""
        if ids.kind_of(identifier) == "job":
            return await self.job(identifier)
        if ids.kind_of(identifier) == "group":
            from gridloom.calls.async_group import open_group

            await asyncio.to_thread(self.calls.let_arrive, identifier)
            return await open_group(self.connection, identifier)
        found = await asyncio.to_thread(self.sync.get, identifier)
        return self._pool(found) if ids.kind_of(identifier) == "pool" else found

    @property
    def mpi(self) -> AsyncMpi:
        """MPI programs and functions, awaited."""
        from gridloom.mpi_jobs.face import AsyncMpi

        return AsyncMpi(self)

    # ---- submission

    async def run(self, command: Command | None = None, **options: Unpack[JobOptions]) -> AsyncJob:
        """Submit a command; answers when it is on the platform's disk. See `Client.run`."""
        return (await self.run_many([operations.request_of(command, options)]))[0]

    async def run_many(self, requests: Iterable[JobRequest]) -> list[AsyncJob]:
        """Submit all of these or none: each holds the words of `run`, `command` among them."""
        asked = list(requests)
        if not asked:
            return []
        return await self._handles(operations.submit(asked, self.defaults, Path.cwd()))

    # ---- finding

    async def job(self, job_id: str) -> AsyncJob:
        """The handle of an existing job or array element; a `NotFoundError` where there is none."""
        return AsyncJob(self, job_id, await self.connection.run(operations.get(job_id)))

    async def jobs(
        self, *, limit: int | None = None, **filters: Unpack[JobFilter]
    ) -> AsyncIterator[AsyncJob]:
        """Jobs, newest first, read as they are asked for: `state`, `labels`, `queue`, `ids`, ..."""
        chosen = self._chosen(filters)
        size = min(limit, listing.PAGE) if limit else listing.PAGE
        numbers = count(1)
        async for info in self.paged(lambda token: listing.jobs_page(chosen, token, size)):
            yield AsyncJob(self, info.id, info)
            if next(numbers) == limit:
                return

    def watch(
        self, *, from_revision: int = 0, **filters: Unpack[JobFilter]
    ) -> AsyncIterator[JobChange]:
        """The present state of the jobs meant, then every change, for ever."""
        chosen = filter_message(self._chosen(filters))
        return self.connection.follow(JobWatch(chosen, from_revision=from_revision))

    # ---- several at once

    async def wait(
        self,
        jobs: Dependencies,
        timeout: units.Duration | None = None,  # noqa: ASYNC109  # the same word in both faces
        *,
        progress: bool | None = None,
    ) -> list[AsyncJob]:
        """Return the jobs when all are over; a `TimeoutError` where that takes longer."""
        given = flat(jobs, field="jobs")
        meant = job_ids(given, field="jobs")
        with shown(meant, progress) as see:
            await self.connection.run(operations.wait(meant, limit_s(timeout), see))
        looks = await self.connection.run(operations.looks(meant))
        known = handles_by_id(given)
        return [
            (known.get(each) or AsyncJob(self, each, looks[each])).saw(looks[each])
            for each in meant
        ]

    async def cancel(
        self, jobs: Dependencies, grace: units.Duration | None = None, reason: str = ""
    ) -> list[AsyncJob]:
        """End several jobs: SIGTERM, and SIGKILL after the grace (10 s)."""
        meant = job_ids(jobs, field="jobs")
        return await self._handles(operations.cancel(meant, grace, reason))

    async def hold(self, jobs: Dependencies) -> list[AsyncJob]:
        """Keep waiting jobs from starting."""
        return await self._handles(operations.hold(job_ids(jobs, field="jobs")))

    async def release(self, jobs: Dependencies) -> list[AsyncJob]:
        """Let held jobs go on."""
        return await self._handles(operations.release(job_ids(jobs, field="jobs")))

    # ---- projects

    async def projects(self) -> list[ProjectInfo]:
        """Every project that may be seen, with what its queues hold together."""
        return await self.connection.run(project_operations.list_projects())

    async def project(self, name: str) -> ProjectInfo:
        """One project; a `NotFoundError` where there is none of this name."""
        return await self.connection.run(project_operations.find_project(name))

    async def create_project(self, name: str, **options: Unpack[ProjectOptions]) -> ProjectInfo:
        """A new project with a queue "default": `quota`, `description`."""
        return await self.connection.run(project_operations.create_project(name, options))

    async def set_project(self, name: str, **options: Unpack[ProjectOptions]) -> ProjectInfo:
        """Change what is named of a project; the rest stays."""
        return await self.connection.run(project_operations.set_project(name, options))

    async def delete_project(self, name: str) -> None:
        """Remove a project and its queues, in which nothing is."""
        await self.connection.run(project_operations.delete_project(name))

    # ---- queues and nodes

    async def queues(self, project: str | None = None) -> list[QueueInfo]:
        """The project's queues."""
        return await self.connection.run(queue_operations.list_queues(self._project(project)))

    async def create_queue(
        self, name: str, *, project: str | None = None, **options: Unpack[QueueOptions]
    ) -> QueueInfo:
        """A new queue: `priority`, `quota`, `default_time_limit`, `max_time_limit`, `closed`."""
        return await self.connection.run(
            queue_operations.create_queue(self._project(project), name, options)
        )

    async def set_queue(
        self, name: str, *, project: str | None = None, **options: Unpack[QueueOptions]
    ) -> QueueInfo:
        """Change what is named of a queue; the rest stays."""
        return await self.connection.run(
            queue_operations.set_queue(self._project(project), name, options)
        )

    async def delete_queue(self, name: str, *, project: str | None = None) -> None:
        """Remove a queue in which nothing is."""
        await self.connection.run(queue_operations.delete_queue(self._project(project), name))

    async def nodes(self) -> list[NodeInfo]:
        """The machines, what they have and what of that is free."""
        return await self.connection.run(queue_operations.list_nodes())

    @property
    def access(self) -> AsyncAccess:
        """API keys, members of projects and their roles, and the audit log."""
        from gridloom.access.face import AsyncAccess

        return AsyncAccess(self)

    # ---- calls

    @property
    def calls(self) -> Calls:
        """The side that calls Python functions. Its futures and maps may be awaited as they are."""
        return self.sync.calls

    def submit(
        self, function: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> AsyncCallFuture[T]:
        """Call `function(*args, **kwargs)` on the platform; awaiting the future gives its value."""
        from gridloom.calls.async_future import send_in_loop
        from gridloom.calls.function import as_function

        known, before = as_function(function)
        return send_in_loop(self.calls, known, (*before, *args), kwargs, self.connection)

    def map(
        self, function: Callable[..., T], /, *iterables: Iterable[Any], **options: Any
    ) -> AsyncMapResults[T]:
        """Call the function for each item, for `async for`. See `Client.map`."""
        from gridloom.calls.async_future import AsyncMapResults

        return AsyncMapResults.of(self.sync.map(function, *iterables, **options), self.connection)

    def starmap(
        self, function: Callable[..., T], arguments: Iterable[Iterable[Any]], /, **options: Any
    ) -> AsyncMapResults[T]:
        """Call the function with each tuple of arguments, for `async for`."""
        from gridloom.calls.async_future import AsyncMapResults

        done = self.sync.starmap(function, arguments, **options)
        return AsyncMapResults.of(done, self.connection)

    async def map_reduce(
        self, function: Callable[..., Any], /, *iterables: Iterable[Any], **options: Any
    ) -> Any:
        """Map, and fold the results on the workers: `reduce=`, `initial=`."""
        return await asyncio.to_thread(self.sync.map_reduce, function, *iterables, **options)

    async def pool(self, **options: Unpack[PoolOptions]) -> AsyncPool:
        """A pool of warm workers of one's own: `workers`, `concurrency`, `cpus`, ..."""
        return self._pool(await asyncio.to_thread(lambda: self.sync.pool(**options)))

    async def scaling_study(
        self,
        spec: Any,
        widths: Sequence[int] = (1, 2, 4, 8),
        mode: str = "strong",
        repeats: int = 5,
        **words: Unpack[StudyWords],
    ) -> ScalingStudy:
        """See how work scales with its width. See `Client.scaling_study`.

        Where the task is cancelled, the run that is at work comes to its end, and no other begins.
        """
        from gridloom.studies.conduct import conduct

        stop = threading.Event()
        try:
            return await asyncio.to_thread(
                conduct, self.sync, spec, widths, mode, repeats, words, stop
            )
        finally:
            stop.set()

    def _pool(self, pool: Pool) -> AsyncPool:
        from gridloom.calls.async_pool import AsyncPool

        return AsyncPool(self.connection, pool)

    async def functions(self, project: str | None = None) -> list[FunctionInfo]:
        """The functions that were called, with how often and how long they ran."""
        return await self.connection.run(inventory.list_functions(self._project(project)))

    async def pools(self, project: str | None = None) -> list[PoolInfo]:
        """The pools of workers."""
        return await self.connection.run(inventory.list_pools(self._project(project)))

    # ---- inside

    @property
    def defaults(self) -> Defaults:
        """Project and queue where a request says nothing."""
        return self.sync.defaults

    async def paged(
        self, page: Callable[[str], Operation[tuple[list[T], str]]]
    ) -> AsyncIterator[T]:
        """The items of all pages; the next one is asked for when it is needed."""
        token = ""
        while True:
            items, token = await self.connection.run(page(token))
            for item in items:
                yield item
            if not token:
                return

    def _chosen(self, filters: JobFilter) -> JobFilter:
        return {"project": self.defaults.project, **filters}

    def _project(self, given: str | None) -> str:
        return self.defaults.project if given is None else given

    async def _handles(self, operation: Operation[list[JobInfo]]) -> list[AsyncJob]:
        return [AsyncJob(self, info.id, info) for info in await self.connection.run(operation)]
