"""What is read besides the session's stream: states, results for any reader, what calls printed.

Requests are values and streams are `Following`s, so that both faces of the SDK can drive them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gridloom.api.functions.v1 import call_pb2, functions_pb2
from gridloom.calls.output import Printed
from gridloom.calls.states import CallState
from gridloom.ids import split_call_id
from gridloom.operation import Call

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.message import Message

    from gridloom.api.functions.v1.call_pb2 import ResultRun
    from gridloom.operation import Operation

SERVICE = "functions"


class Part(NamedTuple):
    """What came of a call, or of some consecutive items of a chunk."""

    # Where it stands in its group; where one call is read, the item's number in its chunk.
    offset: int
    # How many items; 0: the whole call.
    items: int
    status: int
    value: bytes


def ask(method: str, request: Message) -> Call:
    """A call of the functions service."""
    return Call(SERVICE, method, request)


class ResultsFollowing:
    """The results of a call or a group, from the first to the last that there will be.

    With `follow=False` only those that are there now.
    """

    def __init__(self, identifier: str, *, follow: bool = True) -> None:
        self._target = _target(identifier)
        self._follow = follow
        self._cursor = 0
        self.over = False

    def call(self) -> Call:
        """The stream from where this one has come to."""
        request = functions_pb2.ReadResultsRequest(
            **self._target, follow=self._follow, cursor=self._cursor
        )
        return ask("ReadResults", request)

    def feed(self, answer: functions_pb2.ReadResultsResponse) -> Iterable[Part]:
        """The results in one answer."""
        self._cursor = answer.cursor or self._cursor
        offsets = iter(answer.group_offsets)
        for run in answer.runs:
            yield from _parts(run, offsets)

    def finish(self) -> Iterable[Part]:
        """The service ended the stream: that was all."""
        self.over = True
        return ()


def _parts(run: ResultRun, offsets: Iterator[int]) -> Iterator[Part]:
    """A run's results; a run of a chunk's items stands in its group as one call."""
    if not run.ranges:
        for status, value in zip(run.statuses, run.values, strict=True):
            yield Part(next(offsets, 0), 0, status, value)
        return
    base = next(offsets, 0)
    for status, value, part in zip(run.statuses, run.values, run.ranges, strict=True):
        yield Part(base + part.first, part.count, status, value)


class OutputFollowing:
    """What the calls of a group, or one call, printed; `follow` waits for what they still will."""

    def __init__(self, identifier: str, *, follow: bool = False) -> None:
        self._target = _target(identifier)
        self._follow = follow
        self._seen = 0
        self._skip = 0
        self.over = False

    def call(self) -> Call:
        """The stream from its beginning: what was seen is left out when it comes again."""
        self._skip = self._seen
        return ask(
            "ReadOutput", functions_pb2.ReadOutputRequest(**self._target, follow=self._follow)
        )

    def feed(self, answer: functions_pb2.ReadOutputResponse) -> Iterable[Printed]:
        """The output in one answer."""
        if self._skip:
            self._skip -= 1
            return
        self._seen += 1
        output = answer.output
        session, number = split_call_id(answer.call_id)
        yield Printed.of(session, number, output.item, output.stream, output.data)

    def finish(self) -> Iterable[Printed]:
        """The service ended the stream: that was all."""
        self.over = True
        return ()


def _target(identifier: str) -> dict[str, str]:
    return {f"{identifier.partition('_')[0]}_id": identifier}


def call_state(identifier: str) -> Operation[CallState]:
    """The state of a call as the service knows it."""
    answer = yield ask("GetCall", functions_pb2.GetCallRequest(call_id=identifier))
    name = call_pb2.CallState.Name(answer.call.state)
    return CallState(name.removeprefix("CALL_STATE_"))
