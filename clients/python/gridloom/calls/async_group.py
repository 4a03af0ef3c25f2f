"""A group for an event loop: the names of `Group`, awaited."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from gridloom.calls.group import (
    ORDERS,
    Group,
    cancel_group,
    get_group,
    group_info,
    limit_s,
    unfolding_of,
)
from gridloom.calls.outcomes import is_large, shaped
from gridloom.calls.output import Lines
from gridloom.calls.reading import OutputFollowing, ResultsFollowing
from gridloom.calls.shape import parse_kind
from gridloom.errors import IncompleteError
from gridloom.options import check_choice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from gridloom import units
    from gridloom.api.functions.v1 import functions_pb2
    from gridloom.async_channel import AsyncConnection
    from gridloom.calls.events import CallEvent
    from gridloom.calls.group import GroupInfo
    from gridloom.calls.outcomes import Outcome
    from gridloom.calls.states import CallState
    from gridloom.jobs.info import Explanation
    from gridloom.profiles.profile import Profile


class AsyncGroup:
    """A group on the platform. `await group.info` and `await group.state` look at it anew.

    `sync` is the same group for use without an event loop; that one may be pickled and kept.
    """

    def __init__(self, connection: AsyncConnection, group: functions_pb2.Group) -> None:
        self._connection = connection
        self._group = group
        self.sync = Group(connection.connection, group.id)

    @property
    def id(self) -> str:
        """Its id: `client.get(id)` opens it anywhere."""
        return self.sync.id

    @property
    def info(self) -> Coroutine[Any, Any, GroupInfo]:
        """Everything about it, as it is now."""
        return self._info()

    @property
    def state(self) -> Coroutine[Any, Any, CallState]:
        """What it is doing now."""
        return self._state()

    async def _info(self) -> GroupInfo:
        self._group = await self._connection.run(get_group(self.id))
        return group_info(self._group)

    async def _state(self) -> CallState:
        return (await self._info()).state

    # ---- results

    async def results(
        self,
        *,
        order: str = "input",
        return_exceptions: bool = False,
        timeout: units.Duration | None = None,  # noqa: ASYNC109  # the same word in both faces
    ) -> AsyncIterator[Any]:
        """The results of all items for `async for`. See `Group.results`."""
        check_choice("order", order, ORDERS)
        async for outcome in self._outcomes(limit_s(timeout), in_order=order == "input"):
            yield outcome.given(return_exceptions=return_exceptions)

    async def result(self, timeout: units.Duration | None = None) -> Any:  # noqa: ASYNC109
        """Of a map or group the list of results; of a chain, chord or reduction the last one."""
        kind, shape = parse_kind(self._group.kind)
        if kind in {"map", "chunks"} and shape is None:
            return [value async for value in self.results(timeout=timeout)]
        found = [one async for one in self._outcomes(limit_s(timeout), in_order=False)]
        return shaped(found, shape)

    async def wait(self, timeout: units.Duration | None = None) -> CallState:  # noqa: ASYNC109
        """Return its final state when all of it is over; FAILED where the rest will not come."""
        following = ResultsFollowing(self.id)
        with contextlib.suppress(IncompleteError):
            async for _ in self._connection.follow(following, timeout_s=limit_s(timeout)):
                continue
        return await self.state

    async def cancel(self, grace: units.Duration | None = None) -> int:
        """Cancel what has not ended; how many items that was."""
        return await self._connection.run(cancel_group(self.id, grace))

    async def logs(self, *, follow: bool = False) -> AsyncIterator[str]:
        """The lines that its calls printed, where they have `capture_output`."""
        lines = Lines()
        async for printed in self._connection.follow(OutputFollowing(self.id, follow=follow)):
            for line in lines.take(printed.text):
                yield line
        for line in lines.rest():
            yield line

    async def profile(self) -> Profile:
        """Where the time of all its calls that are over went, of functions with `profile=True`."""
        return await asyncio.to_thread(self.sync.profile)

    async def explain(self) -> Explanation:
        """Why it is not over: what its calls wait for, and behind what."""
        from gridloom.calls.explaining import explain_group

        return await self._connection.run(explain_group(self.id))

    async def events(self) -> AsyncIterator[CallEvent]:
        """What became of it and of those of its calls that were run again, oldest first."""
        from gridloom.calls.events import call_events_page

        token = ""
        while True:
            events, token = await self._connection.run(call_events_page(self.id, token))
            for event in events:
                yield event
            if not token:
                return

    async def _outcomes(self, timeout_s: float | None, *, in_order: bool) -> AsyncIterator[Outcome]:
        unfolding = unfolding_of(self.sync.connection, self._group.kind, in_order=in_order)
        following = ResultsFollowing(self.id)
        incomplete: IncompleteError | None = None
        try:
            async for part in self._connection.follow(following, timeout_s=timeout_s):
                taken = (
                    await asyncio.to_thread(unfolding.take, part)
                    if is_large(part)  # fetching it would block the loop
                    else unfolding.take(part)
                )
                for outcome in taken:
                    yield outcome
        except IncompleteError as error:
            incomplete = error
        for outcome in unfolding.rest():
            yield outcome
        if incomplete is not None:
            raise incomplete

    # ---- as a value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AsyncGroup) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        info = group_info(self._group)
        return f"<AsyncGroup {self.id} {info.state.lower()} {info.done:,}/{info.accepted:,}>"


async def open_group(connection: AsyncConnection, identifier: str) -> AsyncGroup:
    """The handle of a group; a `NotFoundError` where there is none."""
    return AsyncGroup(connection, await connection.run(get_group(identifier)))
