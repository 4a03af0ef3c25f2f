"""What workers share that run several calls at once, whether in threads or on an event loop.

Everything here happens in one thread; running the calls is left to the two kinds. Items of all
units compete for the slots, so that a chunk uses what is free.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Any

from gridloom.api.functions.v1 import worker_pb2
from gridloom.worker.answers import CANCELLED, Answers
from gridloom.worker.failures import CallInterrupt, not_begun
from gridloom.worker.job import Hooks, Job, Outcome, Unit, failed
from gridloom.worker.lasting_link import LastingLink
from gridloom.worker.plan import RunPlan
from gridloom.worker.progress import READY, RETIRE, now_ns
from gridloom.worker.routed import route_standard_streams
from gridloom.worker.tools import ForkWatch, Tools

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom.items import Call
    from gridloom.worker.frames import ServiceFrame, SocketLink, WorkerFrame
    from gridloom.worker.lasting_link import Watcher
    from gridloom.worker.seat import Seat

_TICK_NS = 100_000_000


class _Lease:
    """A batch: its answers, and how many items have none yet."""

    def __init__(self, answers: Answers, unanswered: int) -> None:
        self.answers = answers
        self.unanswered = unanswered


class SlotWorker:
    """Takes batches, hands their items to slots, answers for them."""

    def __init__(self, seat: Seat, open_link: Callable[[], SocketLink]) -> None:
        self._seat = seat
        self._open_link = open_link
        self._tools = Tools(seat)
        self._free = list(seat.board.slots)
        self._waiting: deque[Unit] = deque()
        self._jobs: set[Job] = set()
        self._leases: dict[int, _Lease] = {}
        self._draining = False
        self._hooks = Hooks(self._print, self._arm, self._block)
        self._fork_watch = ForkWatch()
        self._fork_watch.leave_in_child(seat.board.detach)
        self._link: LastingLink | None = None

    # ---- what the kinds bring

    def _start(self, job: Job) -> None:
        """Run a job and hand its outcome to `_finished`, both soon."""
        raise NotImplementedError

    def _interrupt(self, job: Job, error: type[BaseException]) -> None:
        """Have the job's code raise this. It is answered for already."""
        raise NotImplementedError

    def _print(self, job: Job, stream: int, data: bytes) -> None:
        """The job has printed something, in whatever thread it runs."""
        raise NotImplementedError

    def _arm(self, job: Job) -> None:
        """The job has a deadline now; this is called where it runs."""
        raise NotImplementedError

    def _block(self, job: Job, blocked: bool) -> None:  # noqa: FBT001  # a hook's argument
        """The job waits for other calls or goes on; this is called where it runs."""
        raise NotImplementedError

    # ---- the link

    def _settle_in(self, watcher: Watcher) -> LastingLink:
        """Initialise the worker and make its link, which is not open yet."""
        self._tools.initialise()
        route_standard_streams()
        self._link = LastingLink(self._open_link, self._seat.hello, watcher, self._forget_all)
        self._fork_watch.leave_in_child(self._link.release)
        return self._link

    def _tend(self, link: LastingLink) -> None:
        """Keep the link open, take what has come, and send what is finished."""
        if link.tend():
            self._seat.board.header[READY] = 1
        for frame in link.arrived():
            self._take(frame)
        self._fill()
        self._flush()

    @property
    def _is_over(self) -> bool:
        leaving = self._draining or bool(self._seat.board.header[RETIRE])
        return leaving and not (self._jobs or self._waiting or self._leases)

    def _send(self, frame: WorkerFrame) -> None:
        if self._link is not None:
            self._link.send(frame)

    def _forget_all(self) -> None:
        """The service has gone: what runs is nobody's any more."""
        self._leases.clear()
        self._waiting.clear()

    # ---- frames

    def _take(self, frame: ServiceFrame) -> None:
        kind = frame.WhichOneof("body")
        if kind == "batch":
            self._take_batch(frame.batch)
        elif kind == "cancel":
            self._cancel(frame.cancel)
        elif kind == "drain":
            self._draining = True
        elif kind == "welcome":
            self._be_welcomed(frame.welcome)

    def _be_welcomed(self, welcome: worker_pb2.WorkerWelcome) -> None:
        codec = self._tools.codec
        codec.inline_limit_bytes = welcome.inline_limit_bytes or codec.inline_limit_bytes
        codec.payload_limit_bytes = welcome.payload_limit_bytes or codec.payload_limit_bytes

    def _take_batch(self, batch: worker_pb2.Batch) -> None:
        for definition in batch.functions:
            self._tools.functions.add(definition)
        self._seat.wake_host_by(now_ns() + _TICK_NS)
        units = _units(batch.number, [RunPlan(run, self._tools) for run in batch.runs])
        answers = Answers(self._send, batch.epoch, batch.number, sums_up=True)
        lease = _Lease(answers, sum(len(unit.unanswered) for unit in units))
        self._leases[batch.number] = lease
        self._waiting.extend(units)

    def _cancel(self, request: worker_pb2.UnitCancel) -> None:
        """Answer for what was not begun, and interrupt what was where that is asked."""
        every = range(1 << 32)
        ranges = [range(each.first, each.first + each.count) for each in request.ranges] or [every]
        for job in list(self._jobs):
            meant = _is_meant(job.unit, request) and any(job.item in each for each in ranges)
            if meant and request.running:
                self._abandon(job, job.cancelled(), CallInterrupt)
        running = {(job.unit, job.item) for job in self._jobs}
        for unit in [each for each in self._waiting if _is_meant(each, request)]:
            for item in sorted(unit.unanswered):
                if (unit, item) not in running and any(item in each for each in ranges):
                    self._answer(unit, item, failed(CANCELLED, not_begun()))

    # ---- items

    def _fill(self) -> None:
        """Begin as many items as there are free slots."""
        while self._free and self._waiting:
            unit = self._waiting[0]
            item = unit.take()
            if item is None:
                self._waiting.popleft()
                continue
            job = Job(unit, item, self._free.pop(), self._hooks)
            self._jobs.add(job)
            self._start(job)

    def _finished(self, job: Job, outcome: Outcome) -> None:
        """A job has come to its outcome, by itself or because it was abandoned."""
        self._jobs.discard(job)
        lease = self._leases.get(job.unit.batch)
        if lease is not None:
            lease.answers.spent_ns += now_ns() - job.begun_ns
        job.clear()
        self._free.append(job.slot)
        self._answer(job.unit, job.item, outcome)

    def _abandon(self, job: Job, outcome: Outcome, error: type[BaseException]) -> None:
        """Answer for a job that is to stop, and leave it to itself."""
        with job.lock:
            if job.finished or job.abandoned:
                return
            job.abandoned = True
            self._interrupt(job, error)
        self._finished(job, outcome)

    def _answer(self, unit: Unit, item: int, outcome: Outcome) -> None:
        lease = self._leases.get(unit.batch)
        if lease is None or item not in unit.unanswered:
            return
        unit.unanswered.discard(item)
        lease.unanswered -= 1
        status, encoded = outcome
        if unit.is_chunk:
            items = (item, 1)
            lease.answers.add_items(unit.number, items, status, encoded.data, encoded.objects)
        else:
            lease.answers.add(unit.number, status, encoded.data, encoded.objects)

    def _flush(self) -> None:
        """Send all answers that there are."""
        for number, lease in list(self._leases.items()):
            if not lease.unanswered:
                self._leases.pop(number, None)
                lease.answers.flush(last=True)
            elif not lease.answers.is_empty:
                lease.answers.flush()

    def _call(self, function: Callable[..., Any], arguments: Call) -> Any:
        """Call user code. A child that it has forked, and that comes back from it, ends here."""
        args, kwargs = arguments
        try:
            return function(*args, **kwargs)
        finally:
            if self._fork_watch.is_child:
                os._exit(0)

    # ---- what jobs say

    def _send_output(self, job: Job, stream: int, data: bytes) -> None:
        output = worker_pb2.WorkerOutput(
            batch=job.unit.batch, unit=job.unit.number, item=job.item, stream=stream, data=data
        )
        self._send(worker_pb2.WorkerFrame(output=output))

    def _send_blocked(self, job: Job, *, blocked: bool) -> None:
        message = worker_pb2.SlotBlocked(
            batch=job.unit.batch, unit=job.unit.number, blocked=blocked
        )
        self._send(worker_pb2.WorkerFrame(blocked=message))
        self._seat.ring()


def _units(batch: int, plans: list[RunPlan]) -> list[Unit]:
    """The units of a batch, counted through its runs."""
    places = [(plan, position) for plan in plans for position in range(plan.size)]
    return [Unit(batch, plan, number, place) for number, (plan, place) in enumerate(places)]


def _is_meant(unit: Unit, request: worker_pb2.UnitCancel) -> bool:
    return (unit.batch, unit.number) == (request.batch, request.unit)
