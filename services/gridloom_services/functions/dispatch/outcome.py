"""What becomes of positions that were run or are not to be run: results, retries, endings."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Protocol

from gridloom_services.functions import failures
from gridloom_services.functions.call import Status
from gridloom_services.functions.dispatch.block import Span
from gridloom_services.functions.dispatch.lane import Recall

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gridloom_services.functions.call import Attempts, Failure
    from gridloom_services.functions.dispatch.block import Block
    from gridloom_services.functions.dispatch.held import Held
    from gridloom_services.functions.dispatch.lane import Ending, Lane
    from gridloom_services.functions.dispatch.worker import Death


class Sink(Protocol):
    """Who keeps what was decided."""

    def finished(self, span: Span, statuses: bytes, values: Sequence[bytes]) -> None:
        """Positions have their results, each once.

        Plain calls: one status and value each. Items of a chunk: one status and value for all.
        """

    def attempted(self, lane: Lane, recall: Recall, delay_s: float, error: bytes) -> None:
        """A run failed with this error and is repeated after `delay_s`."""


class Outcomes:
    """Finishes positions, or has them run again where their lane's retries allow it."""

    def __init__(self, held: Held, sink: Sink, encode: Callable[[Failure], bytes]) -> None:
        self._held = held
        self._sink = sink
        self._encode = encode
        self._cancelled = encode(failures.cancelled())

    def take_results(
        self, span: Span, statuses: bytes, values: Sequence[bytes], now: float
    ) -> None:
        """Keep what a worker answered; failures that may be repeated are."""
        if statuses.count(Status.OK) == len(statuses):
            self._finish(span, statuses, values)
        elif span.block.items:
            self._take_one(span, Status(statuses[0]), values[0], now)
        else:
            self._take_mixed(span, statuses, values, now)

    def _take_mixed(self, span: Span, statuses: bytes, values: Sequence[bytes], now: float) -> None:
        """Results of plain calls, not all of them good: what is alike and adjacent stays so."""
        start = 0
        for status, same in groupby(statuses):
            stop = start + sum(1 for _ in same)
            part = span.part(span.start + start, span.start + stop)
            if status == Status.OK:
                self._finish(part, statuses[start:stop], values[start:stop])
            elif status == Status.GIVEN_BACK:
                self.requeue([part])
            else:
                for index in range(start, stop):
                    one = span.part(span.start + index, span.start + index + 1)
                    self._take_one(one, Status(status), values[index], now)
            start = stop

    def _take_one(self, span: Span, status: Status, value: bytes, now: float) -> None:
        """What is not good: given back, or failed."""
        if status is Status.GIVEN_BACK:
            self.requeue([span])
        else:
            self._take_failure(span, status, value, now)

    def _take_failure(self, span: Span, status: Status, value: bytes, now: float) -> None:
        """Repeat failed positions one by one, or let them end."""
        attempts = span.attempts.after(status)
        retries = span.block.lane.spec.retries
        if attempts is span.attempts or attempts.retry_delay_s(retries, status) is None:
            self.end(span, status, value)
            return
        for position in range(span.start, span.stop):
            part = span.part(position, position + 1)
            if not self._retry(part, attempts, (status, value), now):
                self.end(part, status, value)

    def died(self, span: Span, death: Death | None, now: float) -> None:
        """Count a dead worker against the position that it was in; alone from now on."""
        status, details = Status.WORKER_DIED, () if death is None else death.details
        if death is not None and death.timed_out:
            status = Status.TIMEOUT
        elif death is not None and death.out_of_memory:
            status = Status.OUT_OF_MEMORY
        attempts = span.attempts.after(status)
        alone = Span(span.block, span.start, span.stop, isolated=True, inputs=span.inputs)
        if status is Status.TIMEOUT:
            failure = failures.timed_out(span.block.lane.spec.timeout_ms, details)
        elif status is Status.OUT_OF_MEMORY:
            failure = failures.out_of_memory(details)
        else:
            failure = failures.worker_died(attempts, details)
        error = self._encode(failure)
        if not self._retry(alone, attempts, (status, error), now):
            self.end(span, status, error)

    def _retry(
        self, span: Span, attempts: Attempts, failed: tuple[Status, bytes], now: float
    ) -> bool:
        """Run one position again if it may be; False: it must end."""
        block, lane = span.block, span.block.lane
        status, error = failed
        delay_s = attempts.retry_delay_s(lane.spec.retries, status)
        given_up = block.cancelled is not None and span.start in block.cancelled
        if delay_s is None or given_up or lane.spec.at_most_once:
            return False
        recall = Recall(
            block.id,
            span.start,
            span.stop,
            attempts,
            block.sequence(span.start),
            chunked=bool(block.items),
            isolated=span.isolated,
        )
        self._sink.attempted(lane, recall, delay_s, error)
        if delay_s:
            self._held.deactivate(block, span.size)
            self._held.recall_later(lane, recall, now + delay_s)
        else:
            lane.push([Span(block, span.start, span.stop, span.isolated, attempts, span.inputs)])
            self._held.enter(lane)
        return True

    def requeue(self, spans: Sequence[Span]) -> None:
        """What a worker did not begin, or did not finish, waits again at the head of its lane."""
        lane = spans[0].block.lane
        waiting: list[Span] = []
        for span in spans:
            cancelled = span.block.cancelled
            if cancelled is None:
                waiting.append(span)
                continue
            for start, stop in cancelled.overlap(span.start, span.stop):
                self.cancel(span.part(start, stop))
            waiting += [span.part(*rest) for rest in cancelled.gaps(span.start, span.stop)]
        lane.push(waiting)
        self._held.enter(lane)

    def cancel(self, span: Span) -> None:
        """Positions end as cancelled."""
        self.end(span, Status.CANCELLED, self._cancelled)

    def end(self, span: Span, status: Status, value: bytes) -> None:
        """Positions end alike, all with one value."""
        if span.block.items:
            self._finish(span, bytes((status,)), (value,))
        else:
            self._finish(span, bytes((status,)) * span.size, (value,) * span.size)

    def end_stored(self, block: Block, start: int, stop: int, ending: Ending) -> int:
        """End positions of a block that was read only for that. Returns how many."""
        block = self._held.blocks.get(block.id, block)
        parts = block.unfinished(start, stop)
        for first, last in parts:
            self._held.activate(block, last - first)
            self.end(Span(block, first, last), ending.status, ending.value)
        return sum(last - first for first, last in parts)

    def end_waiting(self, lane: Lane, ending: Ending) -> int:
        """End all that waits in memory for a lane. Returns how many positions."""
        spans = lane.withdraw(0, 1 << 62, None)
        for span in spans:
            self.end(span, ending.status, ending.value)
        return sum(span.size for span in spans)

    def _finish(self, span: Span, statuses: bytes, values: Sequence[bytes]) -> None:
        """Positions that memory had in a queue or lease have their results."""
        fresh = span.block.finish(span.start, span.stop)
        if fresh == [(span.start, span.stop)]:
            self._sink.finished(span, statuses, values)
        else:
            self._finish_parts(span, fresh, statuses, values)
        self._held.deactivate(span.block, span.size)

    def _finish_parts(
        self, span: Span, parts: list[tuple[int, int]], statuses: bytes, values: Sequence[bytes]
    ) -> None:
        """Only some of them had none."""
        for start, stop in parts:
            part = span.part(start, stop)
            if span.block.items:
                self._sink.finished(part, statuses, values)
            else:
                cut = slice(start - span.start, stop - span.start)
                self._sink.finished(part, statuses[cut], values[cut])
