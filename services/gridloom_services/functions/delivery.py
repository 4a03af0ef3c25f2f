"""What a client's stream is to be sent: results in the order of their numbers, each once a stream.

Bounded: what a client does not take in time is let go from memory and read from disk when it does.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gridloom_services.functions.store.rows import OutputRow, ResultRow

READY_BYTES = 8 << 20
"""Results that wait in memory for a slow client."""

MESSAGE_BYTES = 1 << 20
MESSAGE_CALLS = 8192

_RUN_BYTES = 200
"""What a run weighs beside its values."""


class Delivery:
    """One session's results on their way out. Only what is on disk comes in here."""

    __slots__ = (
        "_output_bytes",
        "_ready",
        "_ready_bytes",
        "attached",
        "behind",
        "committed",
        "outputs",
        "sent",
        "wake",
    )

    def __init__(self, committed: int) -> None:
        self.attached = False
        """A stream is open."""
        self.committed = committed
        """The highest result number that is on disk."""
        self.sent = 0
        """The highest that was given to the stream."""
        self.behind = False
        """Memory lacks results after `sent`: they are to be read from the store."""
        self.outputs: deque[OutputRow] = deque()
        self.wake: Callable[[], None] = _nobody
        self._output_bytes = 0
        self._ready: deque[ResultRow] = deque()
        self._ready_bytes = 0

    def attach(self, confirmed: int, wake: Callable[[], None]) -> None:
        """A stream begins whose client has processed results up to `confirmed`."""
        self._drop()
        self._drop_outputs()
        self.attached = True
        self.wake = wake
        self.sent = confirmed
        self.behind = self.committed > confirmed

    def detach(self) -> None:
        """The stream is over."""
        self._drop()
        self._drop_outputs()
        self.attached, self.behind, self.wake = False, False, _nobody

    def offer(self, rows: Sequence[ResultRow]) -> None:
        """Results that were just committed, in order."""
        self.committed = rows[-1].number
        if not self.attached:
            return
        if not self.behind:
            self._ready.extend(rows)
            self._ready_bytes += sum(_weight(row) for row in rows)
            if self._ready_bytes > READY_BYTES:
                self._drop()
                self.behind = True
        self.wake()

    def print(self, rows: Sequence[OutputRow]) -> None:
        """Output for whoever listens now; a client that is not there reads it from the store.

        So does one that is too slow for all of it.
        """
        if not self.attached:
            return
        for row in rows:
            if self._output_bytes + len(row.data) <= READY_BYTES:
                self.outputs.append(row)
                self._output_bytes += len(row.data)
        self.wake()

    def take(self) -> list[ResultRow]:
        """What memory has for the next message."""
        taken: list[ResultRow] = []
        size = calls = 0
        while self._ready and size < MESSAGE_BYTES and calls < MESSAGE_CALLS:
            row = self._ready.popleft()
            weight = _weight(row)
            self._ready_bytes -= weight
            size += weight
            calls += len(row.statuses)
            taken.append(row)
        if taken:
            self.sent = taken[-1].number
        return taken

    def was_read(self, rows: Sequence[ResultRow], committed_before: int) -> None:
        """Results after `sent` were read from the store, which had `committed_before` then.

        No rows: there are none up to that number any more.
        """
        self.sent = rows[-1].number if rows else max(self.sent, committed_before)
        self.behind = self.committed > self.sent

    def take_outputs(self) -> list[OutputRow]:
        """Output for the next message."""
        taken: list[OutputRow] = []
        size = 0
        while self.outputs and size < MESSAGE_BYTES:
            taken.append(self.outputs.popleft())
            size += len(taken[-1].data)
        self._output_bytes -= size
        return taken

    @property
    def pending(self) -> bool:
        """Whether there is anything to send."""
        return self.behind or bool(self._ready) or bool(self.outputs)

    def _drop_outputs(self) -> None:
        self.outputs.clear()
        self._output_bytes = 0

    def _drop(self) -> None:
        self._ready.clear()
        self._ready_bytes = 0


def _weight(row: ResultRow) -> int:
    return _RUN_BYTES + sum(map(len, row.values))


def _nobody() -> None:
    """No stream is open."""
