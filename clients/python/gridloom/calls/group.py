"""A group (a map, a workflow): calls with a durable id, as any process sees them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from gridloom import units
from gridloom.api.functions.v1 import functions_pb2
from gridloom.calls.notebook import Picture, Pictured
from gridloom.calls.outcomes import Unfolding, shaped
from gridloom.calls.output import lines_of
from gridloom.calls.reading import OutputFollowing, ResultsFollowing, ask
from gridloom.calls.shape import parse_kind
from gridloom.calls.states import CallState
from gridloom.calls.waiting import attended
from gridloom.errors import IncompleteError
from gridloom.jobs.times import moment_in
from gridloom.objects import ObjectsClient
from gridloom.options import check_choice
from gridloom.payload import PayloadCodec
from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from gridloom.calls.events import CallEvent
    from gridloom.calls.outcomes import Outcome
    from gridloom.channel import Connection
    from gridloom.jobs.info import Explanation
    from gridloom.operation import Operation
    from gridloom.profiles.profile import Profile

DEFAULT_GRACE_MS = 5000
ORDERS = ("input", "completed")


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """A group as it was seen: counts are of items."""

    id: str
    name: str
    kind: str
    function: str
    accepted: int
    succeeded: int
    failed: int
    cancelled: int
    sealed: bool
    created_at: datetime | None
    ended_at: datetime | None
    abandoned: bool = False
    """Not sealed, and the program that fed it has been away for long."""
    reason: str = ""
    """One sentence, where its state needs one."""

    @property
    def done(self) -> int:
        """Items that have ended."""
        return self.succeeded + self.failed + self.cancelled

    @property
    def state(self) -> CallState:
        """What all of its calls together are doing. FAILED, too, where the rest will not come."""
        if self.done < self.accepted or not (self.sealed or self.abandoned):
            return CallState.RUNNING if self.done or self.accepted else CallState.QUEUED
        if self.failed or not self.sealed:
            return CallState.FAILED
        return CallState.CANCELLED if self.cancelled else CallState.SUCCEEDED


def group_info(group: functions_pb2.Group) -> GroupInfo:
    """From the wire."""
    return GroupInfo(
        id=group.id,
        name=group.name,
        kind=parse_kind(group.kind)[0],
        function=group.function,
        accepted=group.accepted,
        succeeded=group.succeeded,
        failed=group.failed,
        cancelled=group.cancelled,
        sealed=group.sealed,
        created_at=moment_in(group, "created_at"),
        ended_at=moment_in(group, "ended_at"),
        abandoned=group.abandoned,
        reason=group.reason,
    )


def get_group(identifier: str) -> Operation[functions_pb2.Group]:
    """The group as the platform knows it; a `NotFoundError` where it does not."""
    request = functions_pb2.GetGroupRequest(group_id=identifier)
    answer: functions_pb2.GetGroupResponse = yield ask("GetGroup", request)
    return answer.group


def cancel_group(identifier: str, grace: units.Duration | None) -> Operation[int]:
    """Cancel what has not ended; how many items that was."""
    grace_ms = (
        DEFAULT_GRACE_MS if grace is None else round(units.seconds(grace, field="grace") * 1000)
    )
    request = functions_pb2.CancelCallsRequest(group_id=identifier, running=True, grace_ms=grace_ms)
    answer = yield ask("CancelCalls", request)
    return int(answer.cancelled)


class Group(Pictured):
    """A group on the platform. May be pickled, sent to other processes and kept.

    Two handles are equal when they name the same group. Its results can be read as often as one
    likes, until the platform's retention takes them.
    """

    def __init__(self, connection: Connection, identifier: str) -> None:
        self._connection = connection
        self._id = identifier
        self._group: functions_pb2.Group | None = None

    @property
    def connection(self) -> Connection:
        """The way to its platform."""
        return self._connection

    @property
    def id(self) -> str:
        """Its id: `client.get(id)` opens it anywhere."""
        return self._id

    @property
    def info(self) -> GroupInfo:
        """Everything about it, as it is now."""
        return group_info(self._seen(refresh=True))

    @property
    def state(self) -> CallState:
        """What it is doing now."""
        return self.info.state

    def refreshed(self) -> Group:
        """Itself, after a look whether it exists."""
        self._seen(refresh=True)
        return self

    def _seen(self, *, refresh: bool = False) -> functions_pb2.Group:
        if self._group is None or refresh:
            self._group = self._connection.run(get_group(self._id))
        return self._group

    # ---- results

    def results(
        self,
        *,
        order: str = "input",
        return_exceptions: bool = False,
        timeout: units.Duration | None = None,
    ) -> Iterator[Any]:
        """The results of all items, as they come or in order, waiting for those still to come.

        An item's error is raised, or with `return_exceptions` is its result. After the last one an
        `IncompleteError` is raised where the program that fed the group went away before its end.
        """
        check_choice("order", order, ORDERS)
        for outcome in self._outcomes(limit_s(timeout), in_order=order == "input"):
            yield outcome.given(return_exceptions=return_exceptions)

    def result(self, timeout: units.Duration | None = None) -> Any:
        """Of a map or group the list of results; of a chain, chord or reduction the last one."""
        with attended(self._id, self._id, self.cancel):
            kind, shape = parse_kind(self._seen().kind)
            if kind in {"map", "chunks"} and shape is None:
                return list(self.results(timeout=timeout))
            return shaped(self._outcomes(limit_s(timeout), in_order=False), shape)

    def wait(self, timeout: units.Duration | None = None) -> CallState:
        """Return its final state when all of it is over; FAILED where the rest will not come."""
        following = ResultsFollowing(self._id)
        with attended(self._id, self._id, self.cancel), contextlib.suppress(IncompleteError):
            for _ in self._connection.follow(following, timeout_s=limit_s(timeout)):
                continue
        return self.state

    def cancel(self, grace: units.Duration | None = None) -> int:
        """Cancel what has not ended; how many items that was."""
        return self._connection.run(cancel_group(self._id, grace))

    def logs(self, *, follow: bool = False) -> Iterator[str]:
        """The lines that its calls printed, where they have `capture_output`."""
        following = OutputFollowing(self._id, follow=follow)
        return lines_of(one.text for one in self._connection.follow(following))

    def profile(self) -> Profile:
        """Where the time of all its calls that are over went, of functions with `profile=True`."""
        from gridloom.profiles.operations import calls_profile

        return calls_profile(self._connection, self._id)

    def explain(self) -> Explanation:
        """Why it is not over: what its calls wait for, and behind what."""
        from gridloom.calls.explaining import explain_group

        return self._connection.run(explain_group(self._id))

    def events(self) -> Iterator[CallEvent]:
        """What became of it and of those of its calls that were run again, oldest first."""
        from gridloom.calls.events import call_events

        return call_events(self._connection, self._id)

    def _outcomes(self, timeout_s: float | None, *, in_order: bool) -> Iterator[Outcome]:
        unfolding = unfolding_of(self._connection, self._seen().kind, in_order=in_order)
        following = ResultsFollowing(self._id)
        try:
            for part in self._connection.follow(following, timeout_s=timeout_s):
                yield from unfolding.take(part)
        except IncompleteError:
            yield from unfolding.rest()
            raise
        yield from unfolding.rest()

    # ---- as a value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Group) and other.id == self._id

    def __hash__(self) -> int:
        return hash(self._id)

    def __reduce__(self) -> tuple[Callable[[str, str], Group], tuple[str, str]]:
        return reopened_group, (self._connection.locator.name, self._id)

    def _picture(self) -> Picture:
        info = self.info
        rows = [
            (info.kind, self._id),
            ("name", info.name),
            ("state", info.state.lower()),
            ("done", f"{info.done:,}/{info.accepted:,}"),
            ("failed", f"{info.failed:,}"),
            *([("reason", info.reason)] if info.reason else []),
        ]
        return Picture(repr(self), rows, is_over=info.state.is_final)

    def __repr__(self) -> str:
        if self._group is None:
            return f"<Group {self._id}>"
        info = group_info(self._group)
        state = f"{info.state.lower()} {info.done:,}/{info.accepted:,}"
        return f"<Group {self._id} {info.name} {state}>"


def reopened_group(client_name: str, identifier: str) -> Group:
    """The handle of a group, from its pickle."""
    from gridloom.client import client_of

    return Group(client_of(client_name).connection, identifier)


def unfolding_of(connection: Connection, kind: str, *, in_order: bool) -> Unfolding:
    """How the results of a group of this kind are read."""
    codec = PayloadCodec(ObjectsClient(connection))
    return Unfolding(codec, is_map=parse_kind(kind)[0] == "map", in_order=in_order)


def limit_s(timeout: units.Duration | None) -> float | None:
    """A wait's limit; None: without one."""
    return None if timeout is None else units.seconds(timeout, field="timeout")
