"""What became of a call, a group or a pool, as the platform has kept it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.api.functions.v1 import call_pb2, functions_pb2, pool_pb2
from gridloom.calls.reading import ask
from gridloom.calls.states import CallState, PoolState
from gridloom.ids import kind_of
from gridloom.jobs.times import moment_in
from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from gridloom.channel import Connection
    from gridloom.operation import Operation

PAGE = 200


@dataclass(frozen=True, slots=True)
class CallEvent:
    """A call, or a group, came to a state. QUEUED again: a run failed, and `reason` says of what.

    `id` names the call: among a group's events are those of its calls that were run again. `item`
    is the item's number in a chunk, `attempt` the number of the run that comes next. `at` is None
    where nobody has written down when: of what goes on now, and of what the platform has let go.
    """

    id: str
    at: datetime | None
    state: CallState
    attempt: int = 0
    reason: str = ""
    item: int = 0


@dataclass(frozen=True, slots=True)
class PoolEvent:
    """A pool came to a state, or has other workers: `job_id` is the job that brings them."""

    id: str
    at: datetime | None
    state: PoolState
    reason: str = ""
    job_id: str = ""


def call_events(connection: Connection, identifier: str) -> Iterator[CallEvent]:
    """Of a call or a group, oldest first, a page at a time."""
    token = ""
    while True:
        events, token = connection.run(call_events_page(identifier, token))
        yield from events
        if not token:
            return


def pool_events(connection: Connection, identifier: str) -> Iterator[PoolEvent]:
    """Of a pool, oldest first, a page at a time."""
    token = ""
    while True:
        events, token = connection.run(pool_events_page(identifier, token))
        yield from events
        if not token:
            return


def call_events_page(identifier: str, token: str) -> Operation[tuple[list[CallEvent], str]]:
    """Some events of a call or group, and the token of the next page: empty on the last."""
    events, token = yield from _page(identifier, token)
    return [_call_event(event) for event in events], token


def pool_events_page(identifier: str, token: str) -> Operation[tuple[list[PoolEvent], str]]:
    """Some events of a pool, and the token of the next page: empty on the last."""
    events, token = yield from _page(identifier, token)
    return [_pool_event(event) for event in events], token


def _page(identifier: str, token: str) -> Operation[tuple[list[functions_pb2.Event], str]]:
    request = functions_pb2.ListEventsRequest(page_size=PAGE, page_token=token)
    setattr(request, f"{kind_of(identifier)}_id", identifier)
    answer: functions_pb2.ListEventsResponse = yield ask("ListEvents", request)
    return list(answer.events), answer.next_page_token


def _call_event(event: functions_pb2.Event) -> CallEvent:
    state = CallState(call_pb2.CallState.Name(event.state).removeprefix("CALL_STATE_"))
    at = moment_in(event, "at")
    return CallEvent(event.id, at, state, event.attempt, event.reason, event.item)


def _pool_event(event: functions_pb2.Event) -> PoolEvent:
    state = PoolState(pool_pb2.PoolState.Name(event.pool_state).removeprefix("POOL_STATE_"))
    return PoolEvent(event.id, moment_in(event, "at"), state, event.reason, event.job_id)
