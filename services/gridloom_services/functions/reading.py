"""What anybody may ask about calls and groups: also when the client that sent them is gone."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Self

from gridloom.values import dataclass

from gridloom_services.common.auth import require_project
from gridloom_services.common.errors import InvalidRequestError, NotFoundError
from gridloom_services.functions.call import (
    CallState,
    Status,
    call_id,
    group_id,
    split_call_id,
    split_group_id,
    split_stored_id,
    state_of,
    stored_id,
)
from gridloom_services.functions.store.rows import OutputQuery, ResultQuery
from gridloom_services.functions.wire import error_sentence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gridloom_services.functions.attendance import Attendance
    from gridloom_services.functions.desk import Desk
    from gridloom_services.functions.groups import Group
    from gridloom_services.functions.session import Session
    from gridloom_services.functions.store.rows import BlockRow, GroupRow, OutputRow, ResultRow


@dataclass(frozen=True, slots=True)
class Target:
    """A call, or a group, of a session. Exactly one of `call` and `group` is not 0."""

    session: Session
    call: int = 0
    group: int = 0


@dataclass(frozen=True, slots=True)
class CallView:
    """What is known of a call."""

    id: str
    function: str
    pool_id: str
    group_id: str
    state: CallState
    items: int
    items_done: int
    attempt: int
    reason: str
    accepted_at: float | None = None
    ended_at: float | None = None
    error_sentence: str = ""
    """Of its first failed item."""


class Readings:
    """Answers questions; whatever was accepted before a question is on disk when it is answered."""

    def __init__(self, desk: Desk, attendance: Attendance) -> None:
        self._desk = desk
        self.attendance = attendance

    # ---- finding

    async def target(self, call: str, group: str) -> Target:
        """What an id names. NotFoundError, or InvalidRequestError for what is no id."""
        found = split_call_id(call) if call else split_group_id(group)
        field, given = ("call_id", call) if call else ("group_id", group)
        if found is None:
            shape = "call_SESSION_NUMBER" if call else "group_SESSION_NUMBER"
            raise InvalidRequestError(
                f'"{given}" is not the id of a {field.removesuffix("_id")}',
                field=field,
                given=given,
                allowed=shape,
            )
        await self._desk.cycle.readable()
        session = await self._desk.sessions.find(found[0])
        if session is None:
            raise _unknown(field, given)
        require_project(session.project, owner=session.owner)
        if call:
            return Target(session, call=found[1])
        if await self._desk.sessions.group(session, found[1]) is None:
            raise _unknown(field, given)
        return Target(session, group=found[1])

    async def group(self, target: Target) -> Group:
        """The group that a target names."""
        group = await self._desk.sessions.group(target.session, target.group)
        if group is None:
            raise _unknown("group_id", group_id(target.session.name, target.group))
        return group

    # ---- one call

    async def call(self, target: Target) -> CallView:
        """Where a call stands. NotFoundError where its result is no longer kept."""
        session, sequence = target.session, target.call
        stored = stored_id(session.number, sequence)
        row = await self._desk.store.block(stored)
        if row is not None:
            return await self._unfinished(session, sequence, row)
        query = ResultQuery(session.number, 0, call=stored, calls=1 << 30, value_bytes=1 << 30)
        results = await self._desk.store.results(query)
        if not results:
            raise _unknown("call_id", call_id(session.name, sequence))
        return self._finished(session, sequence, results)

    async def _unfinished(self, session: Session, sequence: int, row: BlockRow) -> CallView:
        lane = session.lanes.get(row.spec)
        stored = stored_id(session.number, sequence)
        position = 0 if row.items else stored - row.id
        attempts = [one.attempts for one in row.attempts if row.items or one.position == position]
        state, reason = self._state(session, row, position)
        spec = lane.spec if lane is not None else None
        group = spec.group if spec is not None else 0
        function = lane.function if lane is not None else None
        return CallView(
            id=call_id(session.name, sequence),
            function=function.name if function is not None else "",
            pool_id=spec.pool_id if spec is not None else "",
            group_id=group_id(session.name, group) if group else "",
            state=state,
            items=row.items or 1,
            items_done=row.done.count if row.items and row.done is not None else 0,
            attempt=max((each.number for each in attempts), default=1),
            reason=reason,
            accepted_at=row.accepted_at,
        )

    def _state(self, session: Session, row: BlockRow, position: int) -> tuple[CallState, str]:
        """Where an unfinished call is found."""
        waiting = self._desk.dependencies.waiting.get(row.id)
        if waiting is not None:
            return CallState.BLOCKED, f"waits for {len(waiting.missing)} other calls"
        lane = session.lanes.get(row.spec)
        if lane is None:
            return CallState.QUEUED, "waits for its turn"
        queue = self._desk.held.pool(lane.spec.pool_id)
        for worker in queue.workers.values():
            for lease in worker.leases.values():
                for piece in lease.open:
                    span = piece.span
                    inside = row.items or span.start <= position < span.stop
                    if span.block.id == row.id and inside:
                        return CallState.RUNNING, f"with worker {worker.id}"
        if lane.function is None:
            return CallState.QUEUED, "waits for the code of its function"
        if not queue.workers:
            return CallState.QUEUED, f"waits for the first worker of pool {queue.id}"
        return CallState.QUEUED, f"waits for one of {len(queue.workers)} workers of {queue.id}"

    @staticmethod
    def _finished(session: Session, sequence: int, rows: list[ResultRow]) -> CallView:
        statuses = b"".join(row.statuses for row in rows)
        items = sum(row.items[1] if row.items else 1 for row in rows)
        errors = [
            value
            for row in rows
            for status, value in zip(row.statuses, row.values, strict=True)
            if status != Status.OK
        ]
        group = split_stored_id(rows[0].group)[1]
        return CallView(
            id=call_id(session.name, sequence),
            function="",
            pool_id="",
            group_id=group_id(session.name, group) if group else "",
            state=state_of(statuses),
            items=items,
            items_done=items,
            attempt=1,
            reason="",
            accepted_at=rows[0].accepted_at or None,
            ended_at=max(row.ended_at for row in rows),
            error_sentence=error_sentence(errors[0]) if errors else "",
        )

    # ---- results and output

    async def results(
        self, target: Target, cursor: int, *, follow: bool
    ) -> AsyncIterator[list[ResultRow]]:
        """Pages of results after a number; with `follow` until there will be no more.

        IncompleteError after the last result of a group whose client has left it unfinished.
        """
        session = target.session
        with _Watch(session) as watch:
            while True:
                watch.clear()
                standing = await self._standing(target)
                query = ResultQuery(
                    session.number,
                    cursor,
                    group=target.group and stored_id(session.number, target.group),
                    call=target.call and stored_id(session.number, target.call),
                )
                while rows := await self._desk.store.results(query):
                    cursor = rows[-1].number
                    query = _after(query, cursor)
                    yield rows
                if standing.is_over or not follow:
                    return
                await self._changed(watch, session, standing)

    async def outputs(
        self, target: Target, *, follow: bool
    ) -> AsyncIterator[list[tuple[int, OutputRow]]]:
        """Pages of output; with `follow` until there will be no more."""
        session, after = target.session, 0
        with _Watch(session) as watch:
            while True:
                watch.clear()
                standing = await self._standing(target)
                while rows := await self._desk.store.outputs(_output_query(target, after)):
                    after = rows[-1][0]
                    yield rows
                if standing.is_over or not follow:
                    return
                await self._changed(watch, session, standing)

    async def _standing(self, target: Target) -> _Standing:
        """Whether everything of a target is on disk."""
        if target.call:
            stored = stored_id(target.session.number, target.call)
            return _Standing(is_over=await self._desk.store.block(stored) is None)
        row = await self._desk.store.group(stored_id(target.session.number, target.group))
        if row is None or row.ended_at is not None:
            return _Standing(is_over=True)
        return _Standing(is_over=False, open_group=None if row.sealed else row)

    async def _changed(self, watch: _Watch, session: Session, standing: _Standing) -> None:
        """Return when there may be more; IncompleteError where that is not to be expected."""
        row = standing.open_group
        if row is None:
            await watch.changed(None)
            return
        current = session.groups.get(split_stored_id(row.id)[1])
        if current is None or current.accepted == row.accepted:
            self.attendance.check(session, row)
        # A client that is away is waited for, as long as its time is not over.
        await watch.changed(self.attendance.awaited_s(session) or None)


@dataclass(frozen=True, slots=True)
class _Standing:
    """How far a target was, on disk, before its results were read."""

    is_over: bool
    open_group: GroupRow | None = None
    """More may be sent of it."""


class _Watch:
    """Told when something of a session is on disk; keeps the session in memory meanwhile."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._event = asyncio.Event()
        # One object for adding and removing: a bound method is a new one each time.
        self._tell: Callable[[], None] = self._event.set

    def __enter__(self) -> Self:
        self._session.watchers.add(self._tell)
        return self

    def __exit__(self, *_: object) -> None:
        self._session.watchers.discard(self._tell)

    def clear(self) -> None:
        self._event.clear()

    async def changed(self, within_s: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._event.wait()


def _after(query: ResultQuery, cursor: int) -> ResultQuery:
    return ResultQuery(query.session, cursor, group=query.group, call=query.call)


def _output_query(target: Target, after: int) -> OutputQuery:
    number = target.session.number
    if target.call:
        return OutputQuery(after, call=stored_id(number, target.call))
    return OutputQuery(after, group=stored_id(number, target.group))


def _unknown(field: str, given: str) -> NotFoundError:
    noun = field.removesuffix("_id")
    why = ": a result goes when its client has it, unless its call has a name"
    return NotFoundError(
        f"{noun} {given} does not exist, or is no longer kept{why if noun == 'call' else ''}",
        field=field,
        given=given,
    )
