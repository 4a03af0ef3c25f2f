"""A group (a map, a workflow): calls with a durable id, as any process sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gridloom import units
from gridloom.api.functions.v1 import call_pb2, functions_pb2
from gridloom.calls.future import OK
from gridloom.calls.notebook import Picture, Pictured
from gridloom.calls.output import lines_of
from gridloom.calls.reading import OutputFollowing, ResultsFollowing, ask
from gridloom.calls.shape import Shape, last_of, parse_kind
from gridloom.calls.states import CallState
from gridloom.calls.waiting import attended
from gridloom.errors import exception_from_call_error
from gridloom.jobs.times import moment_in
from gridloom.objects import ObjectsClient
from gridloom.options import check_choice
from gridloom.payload import PayloadCodec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from gridloom.calls.reading import Part
    from gridloom.channel import Connection
    from gridloom.operation import Operation

DEFAULT_GRACE_MS = 5000


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

    @property
    def done(self) -> int:
        """Items that have ended."""
        return self.succeeded + self.failed + self.cancelled

    @property
    def state(self) -> CallState:
        """What all of its calls together are doing."""
        if not self.sealed or self.done < self.accepted:
            return CallState.RUNNING if self.done or self.accepted else CallState.QUEUED
        if self.failed:
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

        An item's error is raised, or with `return_exceptions` is its result.
        """
        check_choice("order", order, ("input", "completed"))
        outcomes = self._outcomes(_limit(timeout))
        if order == "input":
            outcomes = in_order(outcomes)
        for outcome in outcomes:
            if isinstance(outcome.error, BaseException) and not return_exceptions:
                raise outcome.error
            yield outcome.value if outcome.error is None else outcome.error

    def result(self, timeout: units.Duration | None = None) -> Any:
        """Of a map or group the list of results; of a chain, chord or reduction the last one."""
        with attended(self._id, self._id, self.cancel):
            kind, shape = parse_kind(self._seen().kind)
            if kind in {"map", "chunks"} and shape is None:
                return list(self.results(timeout=timeout))
            found = {one.offset: one for one in self._outcomes(_limit(timeout))}
        return _shaped(found, last_of(found) if shape is None else shape)

    def wait(self, timeout: units.Duration | None = None) -> CallState:
        """Return its final state when all of it is over."""
        with attended(self._id, self._id, self.cancel):
            for _ in self._connection.follow(ResultsFollowing(self._id), timeout_s=_limit(timeout)):
                continue
        return self.state

    def cancel(self, grace: units.Duration | None = None) -> int:
        """Cancel what has not ended; how many items that was."""
        return self._connection.run(cancel_group(self._id, grace))

    def logs(self, *, follow: bool = False) -> Iterator[str]:
        """The lines that its calls printed, where they have `capture_output`."""
        following = OutputFollowing(self._id, follow=follow)
        return lines_of(one.text for one in self._connection.follow(following))

    def _outcomes(self, timeout_s: float | None) -> Iterator[Outcome]:
        codec = PayloadCodec(ObjectsClient(self._connection))
        is_map = parse_kind(self._seen().kind)[0] == "map"
        following = ResultsFollowing(self._id)
        for part in self._connection.follow(following, timeout_s=timeout_s):
            yield from outcomes_of(part, codec, is_map=is_map)

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


# ---- from parts to items


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one item, or of a whole chunk that failed as one."""

    offset: int
    value: Any = None
    error: BaseException | None = None


def outcomes_of(part: Part, codec: PayloadCodec, *, is_map: bool) -> Iterator[Outcome]:
    """The items in a part of a group's results. In a map every call is a chunk."""
    if part.status != OK:
        for offset in range(part.offset, part.offset + max(part.items, 1)):
            error = call_pb2.CallError.FromString(part.value)
            yield Outcome(offset, error=exception_from_call_error(part.status, error))
        return
    try:
        value = codec.decode(part.value)
    except Exception as error:  # noqa: BLE001  # unpickling runs the user's code
        yield Outcome(part.offset, error=error)
        return
    values = value if is_map or part.items else [value]
    for position, one in enumerate(values):
        yield Outcome(part.offset + position, one)


def in_order(outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
    """Outcomes by offset; each as soon as those before it are here."""
    early: dict[int, Outcome] = {}
    expected = 0
    for outcome in outcomes:
        early[outcome.offset] = outcome
        while expected in early:
            yield early.pop(expected)
            expected += 1
    yield from (early[offset] for offset in sorted(early))


def _shaped(found: dict[int, Outcome], shape: Shape) -> Any:
    if isinstance(shape, list):
        return [_shaped(found, one) for one in shape]
    outcome = found[shape]
    if outcome.error is not None:
        raise outcome.error
    return outcome.value


def _limit(timeout: units.Duration | None) -> float | None:
    return None if timeout is None else units.seconds(timeout, field="timeout")
