"""A worker that is a process: one call at a time, in the main thread, with nothing beside it."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from gridloom.worker.answers import Answers
from gridloom.worker.attention import ArrivalSignal, RetiredError
from gridloom.worker.batch import BatchRun
from gridloom.worker.bench import Bench
from gridloom.worker.frames import LinkLostError
from gridloom.worker.progress import READY, RETIRE, now_ns

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom.api.functions.v1.worker_pb2 import Batch
    from gridloom.worker.frames import Link, ServiceFrame, WorkerFrame
    from gridloom.worker.seat import Seat

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
# How soon the host must look at a worker that has begun something.
_TICK_NS = 100_000_000


class ProcessWorker:
    """Serves batches until it is told to go. `open_link` connects to the service."""

    def __init__(self, seat: Seat, open_link: Callable[[], Link]) -> None:
        self._seat = seat
        self._open_link = open_link
        self._bench = Bench(seat, self._attend)
        self._bench.fork_watch.leave_in_child(self._leave_link)
        self._link: Link | None = None
        self._arrivals: ArrivalSignal | None = None
        self._draining = False
        self._frames: deque[ServiceFrame] = deque()
        self._batch: BatchRun | None = None

    def serve(self) -> None:
        """Work; returns when there is no more to do here."""
        self._bench.settle_in()
        while not self._is_over:
            try:
                self._connect()
                self._serve_link()
            except LinkLostError:
                self._frames.clear()
            except RetiredError:
                break
        if self._link is not None:
            self._link.close()

    @property
    def _is_over(self) -> bool:
        return self._draining or bool(self._bench.header[RETIRE])

    # ---- the link

    def _connect(self) -> None:
        """Say hello and be welcomed, however long the service is away."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                self._greet(self._open_link())
            except OSError:  # LinkLostError too
                if self._is_over:
                    raise RetiredError from None
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                return

    def _greet(self, link: Link) -> None:
        if self._link is not None:
            self._link.close()
        self._link, self._bench.link_lost = link, False
        self._arrivals = ArrivalSignal(link.fileno())
        link.send(self._seat.hello())
        self._bench.header[READY] = 1
        welcome = self._awaited(link).welcome
        if welcome.inline_limit_bytes:
            self._bench.codec.inline_limit_bytes = welcome.inline_limit_bytes
        if welcome.payload_limit_bytes:
            self._bench.codec.payload_limit_bytes = welcome.payload_limit_bytes

    def _leave_link(self) -> None:
        """In a forked child: the service must not hear from it, and it runs no more calls."""
        if self._link is not None:
            self._link.close()
        if self._batch is not None:
            self._batch.leave()

    def _send(self, frame: WorkerFrame) -> None:
        """Send, also from within user code, which must not learn that the link is lost."""
        if self._bench.link_lost or self._link is None:
            return
        try:
            self._link.send(frame)
        except LinkLostError:
            self._bench.link_lost = True

    # ---- batches

    def _serve_link(self) -> None:
        while (frame := self._next_frame()) is not None:
            kind = frame.WhichOneof("body")
            if kind == "batch":
                self._run(frame)
            elif kind == "drain":
                self._draining = True

    def _next_frame(self) -> ServiceFrame | None:
        """The next frame; None once everything held is done and there shall be no more."""
        if self._bench.link_lost:
            raise LinkLostError("the service went away during a call")
        assert self._link is not None
        if not self._frames and self._is_over:
            self._frames.extend(self._link.arrived())
            if not self._frames:
                return None
        return self._frames.popleft() if self._frames else self._awaited(self._link)

    def _awaited(self, link: Link) -> ServiceFrame:
        """What comes next; `RetiredError` when the host says that nothing should."""
        attention = self._bench.attention
        attention.is_idle = True
        try:
            if self._bench.header[RETIRE]:  # it was said a moment before
                raise RetiredError
            return link.receive()
        finally:
            attention.is_idle = False

    def _run(self, frame: ServiceFrame) -> None:
        self._keep_functions(frame.batch)
        self._seat.wake_host_by(now_ns() + _TICK_NS)
        self._batch = BatchRun(self._bench, frame.batch, self._send, self._give_back_waiting)
        self._cancel_early(self._batch)
        assert self._arrivals is not None
        self._arrivals.switch(on=True)
        # A cancel may have come a moment before that; for a call that begins now it comes too late.
        self._bench.attention.wanted = self._batch.has_more_than_a_call
        try:
            self._batch.run()
        finally:
            self._batch = None
            self._arrivals.switch(on=False)
        self._bench.after_batch()

    def _keep_functions(self, batch: Batch) -> None:
        for definition in batch.functions:
            self._bench.functions.add(definition)

    def _cancel_early(self, batch: BatchRun) -> None:
        """Cancels that came for the batch while it waited behind another one."""
        for frame in self._frames:
            if frame.cancel.batch == batch.number:
                batch.cancel(frame.cancel)

    def _give_back_waiting(self) -> None:
        """The present call waits for others: what lies here must not wait for it."""
        for frame in [each for each in self._frames if each.HasField("batch")]:
            self._frames.remove(frame)
            self._give_back(frame.batch)

    def _give_back(self, batch: Batch) -> None:
        self._keep_functions(batch)
        answers = Answers(self._send, batch.epoch, batch.number)
        answers.give_back(0, sum(len(run.arguments) for run in batch.runs))
        answers.flush(last=True)

    # ---- in the middle of user code

    def _attend(self) -> None:
        """Take what has arrived, and send what is finished."""
        batch, link = self._batch, self._link
        if batch is None or link is None:
            return
        try:
            frames = [] if self._bench.link_lost else link.arrived()
        except LinkLostError:
            self._bench.link_lost = True
            return
        for frame in frames:
            self._take(frame, batch)
        batch.progress()

    def _take(self, frame: ServiceFrame, batch: BatchRun) -> None:
        if frame.HasField("cancel") and frame.cancel.batch == batch.number:
            batch.cancel(frame.cancel)
        elif frame.HasField("batch") and batch.is_blocked:
            self._give_back(frame.batch)
        else:
            self._frames.append(frame)
