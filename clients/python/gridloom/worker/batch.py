"""A lease as a process worker runs it: unit after unit, in its one thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from gridloom.api.functions.v1 import worker_pb2
from gridloom.worker import context
from gridloom.worker.answers import CANCELLED, ERROR, FLUSH_NS, OK, TIMEOUT, Answers
from gridloom.worker.chunk import ChunkRun
from gridloom.worker.failures import call_error, not_begun, stopped, too_late
from gridloom.worker.plan import CallScope, RunPlan
from gridloom.worker.progress import (
    BATCH,
    BLOCKED,
    CAPTURING,
    DEADLINE,
    HOARDING,
    KILL_AT,
    PLACE,
    decode_place,
    encode_place,
    now_ns,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom.api.functions.v1.call_pb2 import CallError
    from gridloom.worker.bench import Bench
    from gridloom.worker.frames import WorkerFrame
    from gridloom.worker.output import Capture


class BatchRun:
    """Runs one batch and answers for each of its units, or gives them back."""

    def __init__(
        self,
        bench: Bench,
        batch: worker_pb2.Batch,
        send: Callable[[WorkerFrame], None],
        on_blocked: Callable[[], None],
    ) -> None:
        """`on_blocked` is called when a call of the batch begins to wait for others."""
        self._bench = bench
        self._send = send
        self._on_blocked = on_blocked
        self._slot = bench.slot
        self._attention = bench.attention
        self.number = batch.number
        self._plans = [RunPlan(run, bench) for run in batch.runs]
        self._size = sum(plan.size for plan in self._plans)
        # Units from here on are not this worker's any more.
        self._end = self._size
        self._cancelled: dict[int, list[range]] = {}
        self._chunk: ChunkRun | None = None
        self._plan: RunPlan | None = None
        self._blocked = 0
        self.answers = Answers(send, batch.epoch, batch.number)

    @property
    def has_more_than_a_call(self) -> bool:
        """There is something that may be finished, or left out, while another part runs."""
        return self._size > 1 or bool(self._plans[0].ranges)

    def run(self) -> None:
        """Run everything. What a call does to its own worker is between it and the host."""
        self._attention.begin_batch()
        self._slot[BATCH] = self.number
        self._bench.header[HOARDING] = self.has_more_than_a_call
        first = 0
        for plan in self._plans:
            context.enter(CallScope(self, plan, first))
            if plan.capture and self._bench.capture is not None:
                self._run_captured(plan, first, self._bench.capture)
            else:
                self._run_units(plan, first)
            first += plan.size
        self.answers.flush(last=True)

    def _run_captured(self, plan: RunPlan, first: int, capture: Capture) -> None:
        header = self._bench.header
        capture.begin()
        header[CAPTURING] = 1
        try:
            self._run_units(plan, first)
        finally:
            header[CAPTURING] = 0
            capture.end()

    def _run_units(self, plan: RunPlan, first: int) -> None:
        answers, between_units = self.answers, self._bench.between_units
        run_unit = self._run_chunk if plan.ranges else self._run_call
        for position in range(plan.size):
            unit = first + position
            if unit >= self._end:
                return
            run_unit(plan, unit, position)
            between_units()
            if plan.isolated or now_ns() - answers.flushed_at_ns > FLUSH_NS:
                answers.flush()

    def _run_chunk(self, plan: RunPlan, unit: int, position: int) -> None:
        self._chunk = ChunkRun(self, self._bench, plan, unit, position)
        self._chunk.run(plan.ranges[position])
        self._chunk = None

    def _run_call(self, plan: RunPlan, unit: int, position: int) -> None:
        if unit in self._cancelled:
            self.answers.add(unit, CANCELLED, not_begun().SerializeToString())
            return
        attention, codec = self._attention, self._bench.codec
        place = self._slot[PLACE] = encode_place(unit)
        attention.in_user_code = True
        try:
            if attention.wanted:
                attention.look()
            function = plan.function()
            if plan.timeout_ns:
                self.arm(plan.timeout_ns)
            args, kwargs = codec.decode(plan.arguments[position], plan.resolver(position))
            encoded = codec.encode_value(function(*args, **kwargs), durable=plan.durable)
            attention.in_user_code = False
        except BaseException as error:  # noqa: BLE001  # whatever user code raises is its result
            attention.in_user_code = False
            self._answer_failure(plan, unit, error)
        else:
            if place in attention.interrupted:
                self._answer_failure(plan, unit, None)
            else:
                self.answers.add(unit, OK, encoded.data, encoded.objects)
        self.leave_place(unit, 0)

    def _answer_failure(self, plan: RunPlan, unit: int, error: BaseException | None) -> None:
        status, failure = self.failure(plan, self._slot[PLACE], error)
        self.answers.add(unit, status, failure.SerializeToString())

    # ---- what calls and chunks share

    def arm(self, timeout_ns: int) -> None:
        """The item that begins now must end within this time."""
        deadline = now_ns() + timeout_ns
        self._slot[DEADLINE] = deadline
        self._bench.seat.wake_host_by(deadline)

    def leave_place(self, unit: int, item: int) -> None:
        """The call is over: send what it printed, and say so."""
        slot = self._slot
        if self._bench.header[CAPTURING]:
            self._send_rest_of_output(unit, item)
        slot[PLACE] = 0
        slot[DEADLINE] = 0
        slot[KILL_AT] = 0

    def failure(
        self, plan: RunPlan, place: int, error: BaseException | None
    ) -> tuple[int, CallError]:
        """Status and error of a place that raised `error`, or was told to stop, or both."""
        by_timeout = self._attention.interrupted.get(place)
        if by_timeout is None:
            assert error is not None
            return ERROR, call_error(error)
        if by_timeout:
            return TIMEOUT, too_late(plan.name, plan.timeout_ns, error)
        return CANCELLED, stopped(error)

    def cancelled_items(self, unit: int) -> list[range]:
        """Items of a chunk that are not to be begun."""
        return self._cancelled.get(unit, [])

    def _send_rest_of_output(self, unit: int, item: int) -> None:
        capture = self._bench.capture
        assert capture is not None
        for stream, data in capture.item_ended():
            self._send_output(unit, item, stream, data)

    def _send_output(self, unit: int, item: int, stream: int, data: bytes) -> None:
        output = worker_pb2.WorkerOutput(
            batch=self.number, unit=unit, item=item, stream=stream, data=data
        )
        self._send(worker_pb2.WorkerFrame(output=output))

    def leave(self) -> None:
        """In a forked child: end with the call that has forked it."""
        self._end = 0
        if self._chunk is not None:
            self._chunk.replan()

    # ---- in the middle of user code

    def progress(self) -> None:
        """Send what has been finished and printed so far."""
        if self._chunk is not None:
            self._chunk.pack()
        if not self.answers.is_empty:
            self.answers.flush()
        place = self._slot[PLACE]
        if place and self._bench.header[CAPTURING] and self._bench.capture is not None:
            for stream, data in self._bench.capture.pending():
                self._send_output(*decode_place(place), stream, data)

    def cancel(self, request: worker_pb2.UnitCancel) -> None:
        """Leave out what was not begun; interrupt what was, if that is asked."""
        every = range(1 << 32)
        ranges = [range(each.first, each.first + each.count) for each in request.ranges] or [every]
        self._cancelled.setdefault(request.unit, []).extend(ranges)
        place = self._slot[PLACE]
        unit, item = decode_place(place) if place else (-1, -1)
        if unit != request.unit:
            return
        if self._chunk is not None:
            self._chunk.replan()
            if request.ranges and not self._chunk.is_open:
                return  # all items are being opened together: these are left out after that
        if request.running and any(item in each for each in ranges):
            self._attention.interrupt_here()
            self._slot[KILL_AT] = now_ns() + request.grace_ms * 1_000_000
            self._bench.seat.ring()

    def set_blocked(self, *, blocked: bool) -> None:
        """The present call waits for others, or goes on.

        While it waits, this worker keeps nothing that it has not begun: the result that is waited
        for may be among that.
        """
        if threading.get_ident() != threading.main_thread().ident:
            return  # a thread of the user's own: the call itself goes on beside it
        with self._attention.held_off():
            self._blocked += 1 if blocked else -1
            if self._blocked != (1 if blocked else 0):
                return
            self._slot[BLOCKED] = blocked
            unit, _ = decode_place(self._slot[PLACE])
            self.progress()
            message = worker_pb2.SlotBlocked(batch=self.number, unit=unit, blocked=blocked)
            self._send(worker_pb2.WorkerFrame(blocked=message))
            if blocked:
                self._give_back_from(unit + 1)
                self._on_blocked()
            self._bench.seat.ring()

    def _give_back_from(self, unit: int) -> None:
        if unit < self._end:
            self.answers.give_back(unit, self._end - unit)
            self._end = unit
            self.answers.flush()

    @property
    def is_blocked(self) -> bool:
        """Whether the present call waits for others."""
        return self._blocked > 0

    def current(self) -> tuple[int, int]:
        """Unit and item that run now."""
        place = self._slot[PLACE]
        return decode_place(place) if place else (0, 0)
