"""What became of calls, groups and pools, oldest first: put together from what the store keeps.

That a call was taken in and how it ended is told by its block and its result, a run that failed by
an event. When a run begins is written nowhere: that would cost every call; one that runs now is
told last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.values import dataclass

from gridloom_services.common.errors import InvalidRequestError
from gridloom_services.functions.call import (
    CallState,
    call_id,
    group_id,
    split_stored_id,
    stored_id,
)
from gridloom_services.functions.store.rows import CallEventRow, EventQuery, PoolEventRow

if TYPE_CHECKING:
    from gridloom_services.functions.desk import Desk
    from gridloom_services.functions.groups import Group
    from gridloom_services.functions.reading import CallView, Readings, Target

PAGE = 200
_MOST = 1000
_WAITS = {CallState.BLOCKED, CallState.QUEUED}


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened. `at` None: nobody wrote down when."""

    id: str
    at: float | None
    state: int = 0
    """Of a call or group..."""
    pool_state: int = 0
    """... or of a pool."""
    attempt: int = 0
    item: int = 0
    reason: str = ""
    job_id: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """What is asked for: events after a number."""

    after: int
    size: int

    @classmethod
    def of(cls, token: str, size: int) -> Page:
        """From a request; InvalidRequestError for a token that nobody gave out."""
        if token and not token.isdecimal():
            raise InvalidRequestError(
                "the page token is not one that was given out", field="page_token", given=token
            )
        return cls(int(token or "0"), min(size, _MOST) if size > 0 else PAGE)


@dataclass(frozen=True, slots=True)
class Told:
    """A page, and the token of the next one: empty on the last."""

    happenings: list[Happening]
    next_token: str


class Events:
    """Answers what became of something."""

    def __init__(self, desk: Desk, readings: Readings) -> None:
        self._desk = desk
        self._readings = readings

    async def of_call(self, target: Target, page: Page) -> Told:
        """Of a call; NotFoundError where its result is no longer kept."""
        view = await self._readings.call(target)
        call = stored_id(target.session.number, target.call)
        query = EventQuery(page.after, call=call, limit=page.size)
        return await self._told(query, target, _head(view), _end_of_call(view))

    async def of_group(self, target: Target, page: Page) -> Told:
        """Of a group, and of its calls that were run again."""
        group = await self._readings.group(target)
        name = group_id(target.session.name, target.group)
        query = EventQuery(page.after, group=group.id, limit=page.size)
        head = Happening(name, group.created_at, CallState.QUEUED)
        return await self._told(query, target, head, [_end_of_group(name, group)])

    async def of_pool(self, pool_id: str, page: Page) -> Told:
        """Of a pool, as long as it is kept."""
        await self._desk.cycle.readable()
        query = EventQuery(page.after, pool=pool_id, limit=page.size)
        found = await self._desk.store.events(query)
        happenings = [
            Happening(row.pool, row.at, 0, row.state, reason=row.reason, job_id=row.job_id)
            for _, row in found
            if isinstance(row, PoolEventRow)
        ]
        return Told(happenings, str(found[-1][0]) if len(found) == page.size else "")

    async def _told(
        self, query: EventQuery, target: Target, head: Happening, end: list[Happening]
    ) -> Told:
        """A page of runs that failed: on the first how it began, on the last how it stands."""
        found = await self._desk.store.events(query)
        told = [] if query.after else [head]
        for _, row in found:
            if isinstance(row, CallEventRow):
                name = call_id(target.session.name, split_stored_id(row.call)[1])
                told.append(_again(name, row))
        if len(found) == query.limit:
            return Told(told, str(found[-1][0]))
        return Told(told + end, "")


def _again(name: str, row: CallEventRow) -> Happening:
    state = CallState.QUEUED
    return Happening(name, row.at, state, 0, row.attempt, row.item, row.reason)


def _head(view: CallView) -> Happening:
    state = view.state if view.state in _WAITS else CallState.QUEUED
    return Happening(view.id, view.accepted_at, state, attempt=1)


def _end_of_call(view: CallView) -> list[Happening]:
    """How it stands now, where that is not how it began."""
    if view.state in _WAITS:
        return []
    reason = view.reason or view.error_sentence
    return [Happening(view.id, view.ended_at, view.state, attempt=view.attempt, reason=reason)]


def _end_of_group(name: str, group: Group) -> Happening:
    if group.ended_at is None:
        reason = f"{group.finished:,} of {group.accepted:,} items done"
        return Happening(name, None, CallState.RUNNING, reason=reason)
    counts = {
        "succeeded": group.succeeded,
        "failed": group.failed,
        "cancelled": group.cancelled,
    }
    reason = ", ".join(f"{count:,} {word}" for word, count in counts.items() if count)
    return Happening(name, group.ended_at, group.state, reason=reason)
