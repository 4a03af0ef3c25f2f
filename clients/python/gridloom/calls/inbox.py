"""What a session is told: results go to those who wait for them, each once.

A result whose call is not pending was delivered before (over an earlier stream) and is dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from gridloom.api.functions.v1 import call_pb2
from gridloom.calls.output import Printed
from gridloom.payload import LARGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom.api.functions.v1.call_pb2 import ResultRun
    from gridloom.api.functions.v1.session_pb2 import OpenSessionResponse
    from gridloom.calls.outbox import Outbox

OK = call_pb2.CALL_STATUS_OK
REFUSED = call_pb2.CALL_STATUS_REFUSED
# So many results are confirmed even where nothing else is to be said.
CONFIRM_AT_LATEST = 1000


class PartSink(Protocol):
    """Where the results of a chunk go, some items at a time."""

    def deliver_part(self, status: int, value: bytes, first: int, count: int) -> bool:
        """Take the result of these items; True: it was the last that is expected."""


class Inbox:
    """The receiving half of a session; one thread uses it."""

    def __init__(
        self,
        outbox: Outbox,
        listeners: dict[int, Callable[[Printed], None]],
        session: str,
        refused: Callable[[], None],
        pin: Callable[[bytes], bytes],
    ) -> None:
        """`refused` is told of calls that were refused, before those who wait for them are.

        `pin` gives the envelope of a large value that outlives the confirmation.
        """
        self._outbox = outbox
        self._listeners = listeners
        self._session = session
        self._refused = refused
        self._pin = pin
        self._unconfirmed = 0
        self.results = 0  # how many were delivered, ever

    def take(self, response: OpenSessionResponse) -> None:
        """Act on one message of the service, its welcome and missing functions left out."""
        for output in response.outputs:
            self._print(output.sequence, output.item, output.stream, output.data)
        for run in response.results:
            self._deliver(run)
        if response.acknowledged:
            self._outbox.acknowledge(response.acknowledged)
        if response.window_calls:
            self._outbox.set_window(calls=response.window_calls)
        if response.result_number:
            self._confirm(response.result_number)

    def _deliver(self, run: ResultRun) -> None:
        self._unconfirmed += len(run.statuses)
        self.results += len(run.statuses)
        if REFUSED in run.statuses:
            self._refused()
        if self._outbox.sharing:
            self._end_sharing(run)
        if run.ranges:
            self._deliver_parts(run)
            return
        pending = self._outbox.pending
        number = run.first_sequence
        for status, value in zip(run.statuses, run.values, strict=True):
            sink = pending.pop(number, None)
            number += 1
            if sink is not None:
                if value[:1] == LARGE and status == OK:
                    value = self._pinned(value)  # noqa: PLW2901
                sink.deliver(status, value)

    def _deliver_parts(self, run: ResultRun) -> None:
        sink = self._outbox.pending.get(run.first_sequence)
        if sink is None:
            return
        chunk = cast("PartSink", sink)
        for status, value, part in zip(run.statuses, run.values, run.ranges, strict=True):
            kept = self._pinned(value) if value[:1] == LARGE and status == OK else value
            if chunk.deliver_part(status, kept, part.first, part.count):
                self._outbox.pending.pop(run.first_sequence, None)
                self._outbox.sharing.discard(run.first_sequence)

    def _end_sharing(self, run: ResultRun) -> None:
        """What has lain in shared memory for these calls is needed no more: say so at once."""
        calls = 1 if run.ranges else len(run.statuses)
        numbers = range(run.first_sequence, run.first_sequence + calls)
        over = [number for number in tuple(self._outbox.sharing) if number in numbers]
        if over:
            self._unconfirmed = CONFIRM_AT_LATEST
        if not run.ranges:  # of a chunk more may come
            self._outbox.sharing.difference_update(over)

    def _pinned(self, value: bytes) -> bytes:
        """A large value, which may go from the platform once it is confirmed: that is now."""
        kept = self._pin(value)
        if kept is not value:
            self._unconfirmed = CONFIRM_AT_LATEST
        return kept

    def _confirm(self, result_number: int) -> None:
        self._outbox.processed(result_number)
        if self._unconfirmed >= CONFIRM_AT_LATEST:
            self._unconfirmed = 0
            self._outbox.wake()

    def _print(self, sequence: int, item: int, stream: int, data: bytes) -> None:
        listener = self._listeners.get(sequence)
        if listener is not None:
            listener(Printed.of(self._session, sequence, item, stream, data))
