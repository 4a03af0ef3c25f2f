"""Pools of one's own, awaited: the names of `Pool`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from gridloom.calls.async_future import AsyncCallFuture, AsyncMapResults, send_in_loop
from gridloom.calls.function import as_function
from gridloom.calls.pool import Pool, resize_pool
from gridloom.calls.states import PoolState
from gridloom.inventory import close_pool, get_pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable

    from gridloom import units
    from gridloom.async_channel import AsyncConnection
    from gridloom.calls.events import PoolEvent
    from gridloom.calls.mapping import MapOptions
    from gridloom.inventory import PoolInfo
    from gridloom.jobs.info import Explanation

R = TypeVar("R")


class AsyncPool:
    """Workers of one's own. Ends with `await close()` or its `async with` block.

    `await pool.info` and `await pool.state` look at it anew. `sync` is the same pool for use
    without an event loop, and for the option `pool` of functions; that one may be pickled and kept.
    """

    def __init__(self, connection: AsyncConnection, sync: Pool) -> None:
        self._connection = connection
        self.sync = sync
        self.id = sync.id
        """`client.get(id)` opens it anywhere."""

    # ---- calls

    def submit(
        self, function: Callable[..., R], /, *args: Any, **kwargs: Any
    ) -> AsyncCallFuture[R]:
        """Call the function here; awaiting the future gives its value."""
        known, before = as_function(function)
        here = self.sync.here(known)
        return send_in_loop(self.sync.calls, here, (*before, *args), kwargs, self._connection)

    def map(
        self,
        function: Callable[..., R],
        /,
        *iterables: Iterable[Any],
        **options: Unpack[MapOptions],
    ) -> AsyncMapResults[R]:
        """Call it for each item, for `async for`."""
        return AsyncMapResults.of(self.sync.map(function, *iterables, **options), self._connection)

    def starmap(
        self,
        function: Callable[..., R],
        arguments: Iterable[Iterable[Any]],
        /,
        **options: Unpack[MapOptions],
    ) -> AsyncMapResults[R]:
        """Call it with each tuple of arguments, for `async for`."""
        return AsyncMapResults.of(
            self.sync.starmap(function, arguments, **options), self._connection
        )

    async def map_reduce(
        self, function: Callable[..., Any], /, *iterables: Iterable[Any], **options: Any
    ) -> Any:
        """Map, and fold the results on the workers."""
        return await asyncio.to_thread(self.sync.map_reduce, function, *iterables, **options)

    # ---- itself

    @property
    def info(self) -> Coroutine[Any, Any, PoolInfo]:
        """Everything about it, as it is now."""
        return self._connection.run(get_pool(self.id))

    @property
    def state(self) -> Coroutine[Any, Any, PoolState]:
        """What it is doing now."""
        return self._state()

    async def _state(self) -> PoolState:
        return PoolState((await self.info).state)

    async def explain(self) -> Explanation:
        """Why its calls wait, and behind what."""
        from gridloom.calls.explaining import explain_pool

        return await self._connection.run(explain_pool(self.id))

    async def events(self) -> AsyncIterator[PoolEvent]:
        """What became of it, oldest first: its states, and the jobs that brought its workers."""
        from gridloom.calls.events import pool_events_page

        token = ""
        while True:
            events, token = await self._connection.run(pool_events_page(self.id, token))
            for event in events:
                yield event
            if not token:
                return

    async def logs(self, *, follow: bool = False) -> AsyncIterator[str]:
        """What its workers have said besides the output of calls: that of its present job."""
        from gridloom.jobs.logs import LineReading, LogQuery

        job_id = (await self.info).job_id
        if job_id:
            async for line in self._connection.follow(LineReading(LogQuery(job_id, follow))):
                yield line.text

    async def wait(self, timeout: units.Duration | None = None) -> None:  # noqa: ASYNC109
        """Return when all calls that this process sent here have ended. TimeoutError."""
        await asyncio.to_thread(self.sync.wait, timeout)

    async def cancel(self, grace: units.Duration | None = None) -> None:
        """Close it at once: calls that wait are cancelled, those that run are interrupted."""
        await asyncio.to_thread(self.sync.cancel, grace)

    async def resize(self, workers: int) -> PoolInfo:
        """Let it have at most this many workers."""
        return await self._connection.run(resize_pool(self.id, workers))

    async def close(self, *, cancel_running: bool = False) -> None:
        """End the workers after the calls that they are in; calls that wait are cancelled."""
        await self._connection.run(close_pool(self.id, cancel_running=cancel_running))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for all calls that this process sent here, then close; after an error at once."""
        await self.sync.__aexit__(kind)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AsyncPool) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<AsyncPool {self.id}>"
