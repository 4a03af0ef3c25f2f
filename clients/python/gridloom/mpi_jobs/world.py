"""Warm worlds: ranks that stay between calls, so that a call costs milliseconds."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from gridloom.errors import ConflictError, UnavailableError
from gridloom.jobs import operations as job_operations
from gridloom.jobs.states import JobState
from gridloom.mpi_jobs import operations
from gridloom.mpi_jobs.call import modules_of, pickled_call
from gridloom.mpi_jobs.door import WorldDoor
from gridloom.mpi_jobs.job import MpiJob
from gridloom.mpi_jobs.outcome import open_value, raised_on, with_rank
from gridloom.mpi_jobs.request import FunctionCall, mpi_draft
from gridloom.worker.mpi.names import ERROR

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gridloom.client import Client
    from gridloom.mpi_jobs.door import WorldAnswer

DEFAULT_IDLE_TIMEOUT_S = 600.0


class World:
    """Ranks for calls, one call at a time: `with client.mpi.world(ranks=4) as world: ...`.

    They start at the first call. A call in which a rank dies, or after whose error the ranks do not
    come together again, ends them: the next call has new ones, as after the idle time.
    """

    def __init__(self, client: Client, options: Mapping[str, Any]) -> None:
        self._client = client
        self._options = {"idle_timeout": DEFAULT_IDLE_TIMEOUT_S, **options}
        self._lock = threading.Lock()
        self._door: WorldDoor | None = None
        self._bundle = b""
        self._is_closed = False
        self.job: MpiJob | None = None
        """The job of the present ranks; None before the first call."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<gridloom World of {self._options['ranks']} ranks, {self.job!r}>"

    def call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> list[Any]:
        """The function's result on each rank; what one of them raises is raised here."""
        plain = getattr(function, "function", function)
        pickle, bundle = pickled_call(plain, args, kwargs), modules_of(plain)
        with self._lock:
            if self._is_closed:
                raise ConflictError("the world is closed")
            answer = self._answer(pickle, bundle)
            job = self.job
            assert job is not None
            if not answer.goes_on:
                self._leave(ends_world=False)
        return self._values(answer, job)

    def close(self) -> None:
        """End the ranks, after the call that they are in."""
        with self._lock:
            self._is_closed = True
            self._leave(ends_world=True)

    def _answer(self, pickle: bytes, bundle: bytes) -> WorldAnswer:
        if bundle and bundle != self._bundle:  # other modules than these ranks have
            self._leave(ends_world=True)
        for is_last in (self._door is None, True):
            door = self._door or self._opened(bundle)
            try:
                return door.call(pickle)
            except UnavailableError:
                # The ranks had gone before the call, which then may go to others; or in it.
                self._leave(ends_world=False)
                if is_last or door.has_begun:
                    raise self._failure() from None
        raise AssertionError  # the loop has returned or raised

    def _opened(self, bundle: bytes) -> WorldDoor:
        connection = self._client.connection
        call = FunctionCall("world", b"world", bundle)
        draft = mpi_draft(call, self._options, self._client.defaults, Path.cwd())
        info = connection.run(operations.submit(draft))
        self.job = MpiJob(self._client, info.id, info)
        connection.run(operations.begun(info.id))
        # The door opens with the agent's own interpreter: ours may lie elsewhere.
        self._door = WorldDoor(connection, info.id, info.roles[0].command[0])
        self._bundle = bundle
        return self._door

    def _leave(self, *, ends_world: bool) -> None:
        door, self._door = self._door, None
        if door is not None:
            door.close(ends_world=ends_world)

    def _failure(self) -> BaseException:
        """Why the ranks have gone without an answer."""
        assert self.job is not None
        connection = self._client.connection
        info = connection.run(job_operations.ended(self.job.id, None))
        if info.state is JobState.SUCCEEDED:
            return UnavailableError(f"the ranks of {info.id} had ended before the call")
        return connection.run(operations.failure(info))

    def _values(self, answer: WorldAnswer, job: MpiJob) -> list[Any]:
        failure, ranks = answer.report.failure, self._options["ranks"]
        if failure is None:
            return [open_value(each) for each in answer.report.answers]
        for each in answer.report.answers:
            if each.kind == ERROR and each.rank == failure.rank:
                raise raised_on(each, job.id, ranks)
        raise with_rank(job.info, failure)


class AsyncWorld:
    """The same for an event loop: calls are awaited, one after the other in the order they came.

    A call whose task is cancelled goes on to its end; calls that waited behind it do not begin.
    """

    def __init__(self, world: World) -> None:
        self.sync = world
        self._turn = asyncio.Lock()

    @property
    def job(self) -> MpiJob | None:
        """The job of the present ranks; None before the first call."""
        return self.sync.job

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return repr(self.sync)

    async def call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> list[Any]:
        """The function's result on each rank; what one of them raises is raised here."""
        async with self._turn:
            return await asyncio.to_thread(self.sync.call, function, *args, **kwargs)

    async def close(self) -> None:
        """End the ranks, after the call that they are in."""
        await asyncio.to_thread(self.sync.close)


class SharedWorlds:
    """The worlds of functions with `reuse=True`: one for each set of options."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._worlds: dict[str, tuple[World, concurrent.futures.ThreadPoolExecutor]] = {}

    def submit(
        self,
        function: Callable[..., Any],
        options: Mapping[str, Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> concurrent.futures.Future[Any]:
        """The call, behind those that the same world has to do."""
        of_world = {
            word: value for word, value in options.items() if word not in {"result", "reuse"}
        }
        key = repr(sorted(of_world.items()))
        with self._lock:
            if key not in self._worlds:
                waiting = {"idle_timeout": 60.0, **of_world}
                threads = concurrent.futures.ThreadPoolExecutor(1, "gridloom-world")
                self._worlds[key] = World(self._client, waiting), threads
            world, threads = self._worlds[key]
        root_only = options.get("result") == "root"

        def call() -> Any:
            values = world.call(function, *args, **kwargs)
            return values[0] if root_only else values

        return threads.submit(call)


_shared: weakref.WeakKeyDictionary[Client, SharedWorlds] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def shared_worlds(client: Client) -> SharedWorlds:
    """The client's."""
    with _lock:
        if client not in _shared:
            _shared[client] = SharedWorlds(client)
        return _shared[client]
