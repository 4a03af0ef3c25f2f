"""`client.mpi`: what a client does with MPI, for both faces."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast

from gridloom.mpi_jobs import operations
from gridloom.mpi_jobs.call import function_call
from gridloom.mpi_jobs.function import MpiFunction
from gridloom.mpi_jobs.future import MpiFuture
from gridloom.mpi_jobs.job import AsyncMpiJob, MpiJob
from gridloom.mpi_jobs.options import PROGRAM_WORDS, WORLD_WORDS, checked_options
from gridloom.mpi_jobs.request import MpiDraft, mpi_draft
from gridloom.mpi_jobs.world import AsyncWorld, World, shared_worlds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gridloom.aio import AsyncClient
    from gridloom.client import Client
    from gridloom.jobs.role import Command
    from gridloom.mpi_jobs.options import MpiOptions, WorldOptions
    from gridloom.options import Defaults


class Mpi:
    """MPI jobs of a client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def run(self, command: Command, **options: Unpack[MpiOptions]) -> MpiJob:
        """Submit a program: `client.mpi.run(["./solver"], ranks=8)`.

        Answers when it is on the platform's disk. It runs as with `mpiexec -n 8`, in a fresh folder
        with the `files` named and the program itself, where that is a file below this folder.
        """
        draft = program_draft(command, options, self._client.defaults)
        info = self._client.connection.run(operations.submit(draft))
        return MpiJob(self._client, info.id, info)

    def submit(
        self, function: Callable[..., Any] | MpiFunction[..., Any], /, *args: Any, **kwargs: Any
    ) -> MpiFuture[Any]:
        """Run a `@gridloom.mpi` function on its ranks: a future of the list of results."""
        if not isinstance(function, MpiFunction):
            raise TypeError(f"{function!r} is no MPI function: decorate it with @gridloom.mpi(...)")
        return function.submit_to(self._client, args, kwargs)

    def world(self, **options: Unpack[WorldOptions]) -> World:
        """Ranks that stay between calls: `with client.mpi.world(ranks=4) as world: world.call(f)`.

        A `timeout` is of each call.
        """
        checked = checked_options(cast("Mapping[str, Any]", options), WORLD_WORDS)
        return World(self._client, checked)

    def job(self, job_id: str) -> MpiJob:
        """The handle of an MPI job by its id."""
        job = MpiJob(self._client, job_id)
        job.refresh()
        return job

    def submit_with(
        self,
        function: Callable[..., Any],
        options: Mapping[str, Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """What `submit` does, with these options."""
        if options.get("reuse"):
            return shared_worlds(self._client).submit(function, options, args, kwargs)
        root_only = options.get("result") == "root"
        call = function_call(function, args, kwargs, root_only=root_only)
        draft = mpi_draft(call, options, self._client.defaults, Path.cwd())
        info = self._client.connection.run(operations.submit(draft))
        return MpiFuture(MpiJob(self._client, info.id, info), root_only=root_only)


class AsyncMpi:
    """The same names, awaited."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def run(self, command: Command, **options: Unpack[MpiOptions]) -> AsyncMpiJob:
        """Submit a program. See `Mpi.run`."""
        draft = program_draft(command, options, self._client.defaults)
        info = await self._client.connection.run(operations.submit(draft))
        return AsyncMpiJob(self._client, info.id, info)

    async def submit(
        self, function: Callable[..., Any] | MpiFunction[..., Any], /, *args: Any, **kwargs: Any
    ) -> MpiFuture[Any]:
        """Run a `@gridloom.mpi` function on its ranks: await the future for the results."""
        return await asyncio.to_thread(self._client.sync.mpi.submit, function, *args, **kwargs)

    def world(self, **options: Unpack[WorldOptions]) -> AsyncWorld:
        """Ranks that stay: `async with client.mpi.world(ranks=4) as world: await world.call(f)`."""
        return AsyncWorld(self._client.sync.mpi.world(**options))

    async def job(self, job_id: str) -> AsyncMpiJob:
        """The handle of an MPI job by its id."""
        found = await self._client.job(job_id)
        return AsyncMpiJob(self._client, job_id, found.info)


def program_draft(command: Command, options: MpiOptions, defaults: Defaults) -> MpiDraft:
    """The draft of a program's job."""
    checked = checked_options(cast("Mapping[str, Any]", options), PROGRAM_WORDS)
    return mpi_draft(command, checked, defaults, Path.cwd())
