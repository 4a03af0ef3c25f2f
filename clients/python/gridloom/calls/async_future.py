"""Calls and maps for an event loop: what asks the platform is awaited, the rest is as ever."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from gridloom.calls.async_group import AsyncGroup, open_group
from gridloom.calls.future import CallFuture
from gridloom.calls.map import MapResults
from gridloom.calls.output import Lines
from gridloom.calls.reading import OutputFollowing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Mapping

    from gridloom import units
    from gridloom.async_channel import AsyncConnection
    from gridloom.calls.client import Calls
    from gridloom.calls.events import CallEvent
    from gridloom.calls.function import Function
    from gridloom.calls.future import Source
    from gridloom.calls.run import MapRun
    from gridloom.calls.session import Session
    from gridloom.calls.states import CallState
    from gridloom.jobs.info import Explanation
    from gridloom.profiles.profile import Profile

T = TypeVar("T")


def send_in_loop(
    calls: Calls,
    function: Function[..., T],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    connection: AsyncConnection,
) -> AsyncCallFuture[T]:
    """Send one call, for the event loop that the connection is of."""

    def new(session: Session, label: str) -> AsyncCallFuture[Any]:
        return AsyncCallFuture(session, label, connection)

    return cast("AsyncCallFuture[T]", calls.send(function, args, kwargs, new))


class AsyncCallFuture(CallFuture[T], Generic[T]):
    """A `CallFuture` whose `state`, `explain`, `events`, `logs` and `profile` are awaited.

    `await future` gives its value; `result()` and `exception()` are for when it is done.
    """

    __slots__ = ("_connection",)

    def __init__(self, source: Source, label: str, connection: AsyncConnection) -> None:
        super().__init__(source, label)
        self._connection = connection

    @property
    def state(self) -> Coroutine[Any, Any, CallState]:  # type: ignore[override]
        """The call's state now."""
        return asyncio.to_thread(lambda: super(AsyncCallFuture, self).state)

    async def explain(self) -> Explanation:  # type: ignore[override]
        """Why it has no result yet: what it waits for, and behind what."""
        return await asyncio.to_thread(super().explain)

    async def events(self) -> AsyncIterator[CallEvent]:  # type: ignore[override]
        """What became of it, oldest first. See `CallFuture.events`."""
        for event in await asyncio.to_thread(lambda: list(super(AsyncCallFuture, self).events())):
            yield event

    async def logs(self, *, follow: bool = False) -> AsyncIterator[str]:  # type: ignore[override]
        """The lines that the call printed, where its function has `capture_output`."""
        await asyncio.to_thread(self._source.let_arrive, self)
        lines = Lines()
        async for printed in self._connection.follow(OutputFollowing(self.id, follow=follow)):
            for line in lines.take(printed.text):
                yield line
        for line in lines.rest():
            yield line

    async def profile(self) -> Profile:  # type: ignore[override]
        """Where its time went. See `CallFuture.profile`."""
        return await asyncio.to_thread(super().profile)


class AsyncMapResults(MapResults[T], Generic[T]):
    """A map's results, for `async for`; what asks the platform about the map is awaited."""

    def __init__(self, run: MapRun, connection: AsyncConnection, **how: Any) -> None:
        super().__init__(run, **how)
        self._connection = connection

    @classmethod
    def of(cls, results: MapResults[T], connection: AsyncConnection) -> AsyncMapResults[T]:
        """The map that these results are of, which are not used any more."""
        run, how = results.hand_over()
        return cls(run, connection, **how)

    async def _opened(self) -> AsyncGroup:
        group = await asyncio.to_thread(lambda: self.group)
        return await open_group(self._connection, group.id)

    @property
    def state(self) -> Coroutine[Any, Any, CallState]:  # type: ignore[override]
        """What all of its calls together are doing now."""
        return asyncio.to_thread(lambda: self.group.state)

    async def wait(  # type: ignore[override]
        self,
        timeout: units.Duration | None = None,  # noqa: ASYNC109  # the same word in both faces
    ) -> CallState:
        """Return its state when all of its items have ended. See `MapResults.wait`."""
        await asyncio.to_thread(self._await_all, timeout)
        return await self.state

    async def result(  # type: ignore[override]
        self,
        timeout: units.Duration | None = None,  # noqa: ASYNC109
    ) -> list[T]:
        """All results that have not been taken, when the last is here; times out as `wait`."""
        await asyncio.to_thread(self._await_all, timeout)
        return list(self)

    async def explain(self) -> Explanation:  # type: ignore[override]
        """Why its results are not here: what its calls wait for, and behind what."""
        return await (await self._opened()).explain()

    async def events(self) -> AsyncIterator[CallEvent]:  # type: ignore[override]
        """What became of it and of those of its calls that were run again, oldest first."""
        async for event in (await self._opened()).events():
            yield event

    async def logs(self, *, follow: bool = False) -> AsyncIterator[str]:  # type: ignore[override]
        """The lines that its calls printed, where they have `capture_output`."""
        async for line in (await self._opened()).logs(follow=follow):
            yield line

    async def profile(self) -> Profile:  # type: ignore[override]
        """Where the time of its calls that are over went. See `MapResults.profile`."""
        return await (await self._opened()).profile()
