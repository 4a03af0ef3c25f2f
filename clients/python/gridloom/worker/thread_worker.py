"""A worker that runs calls in threads: for code that waits, or that releases the GIL.

A thread cannot be killed. A call that is over before it has ended (its time is up, it was
cancelled) is answered for and its thread left to itself; an exception that is thrown into it ends
it if it runs Python code. When too many threads hang, the worker makes room for a new one.
"""

from __future__ import annotations

import ctypes
import os
import queue
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from gridloom.worker.attention import KNOCK
from gridloom.worker.failures import CallInterrupt, CallTimeoutError
from gridloom.worker.progress import NEVER, now_ns
from gridloom.worker.slot_worker import SlotWorker
from gridloom.worker.supervision.wakeup import Wakeup

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom.worker.frames import SocketLink
    from gridloom.worker.job import Job, Outcome
    from gridloom.worker.lasting_link import LastingLink
    from gridloom.worker.seat import Seat

_LONGEST_SLEEP_S = 3600.0
# With so many hanging threads for each slot the worker goes, whatever else it is at.
_MOST_STUCK = 4
_NS = 1_000_000_000


class ThreadWorker(SlotWorker):
    """Runs each item in a thread of its own or of one that is idle."""

    def __init__(self, seat: Seat, open_link: Callable[[], SocketLink]) -> None:
        super().__init__(seat, open_link)
        self._tasks: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._idle = 0
        self._stuck = 0
        # What the threads want to have done in the main thread.
        self._posted: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._wakes_at_ns = 0

    def serve(self) -> None:
        """Work; returns when there is no more to do here."""
        wakeup = Wakeup((KNOCK,))
        wakeup.add(self._bell)
        link = self._settle_in(wakeup)
        self._tend(link)
        while not self._is_over:
            _, ready = wakeup.wait(self._sleeps_until(link))
            self._wakes_at_ns = 0
            if self._bell in ready:
                os.eventfd_read(self._bell)
            self._do_posted()
            self._expire(now_ns())
            self._tend(link)
        # What still runs here runs again elsewhere, and is not to blame.
        for job in self._jobs:
            job.clear()

    def _sleeps_until(self, link: LastingLink) -> float:
        """When something must be looked at. Threads that need it earlier ring."""
        until = min((job.deadline_ns for job in self._jobs if job.deadline_ns), default=NEVER)
        if not link.is_open:
            until = min(until, int(link.next_try * _NS))
        self._wakes_at_ns = until
        if self._posted or any(0 < job.deadline_ns < until for job in list(self._jobs)):
            return 0.0
        return min(until / _NS, time.monotonic() + _LONGEST_SLEEP_S)

    @property
    def _is_over(self) -> bool:
        """Also when as many threads hang as there are slots: at the next quiet moment, or soon."""
        slots = self._seat.pool.slots
        if self._stuck < slots:
            return super()._is_over
        quiet = not (self._jobs or self._waiting or self._leases)
        return quiet or self._stuck >= _MOST_STUCK * slots

    def _expire(self, now: int) -> None:
        for job in [each for each in self._jobs if each.deadline_ns]:
            if now >= job.deadline_ns:
                self._abandon(job, job.timed_out(), CallTimeoutError)

    # ---- from the threads

    def _post(self, action: Callable[..., None], *arguments: Any) -> None:
        """Have something done in the main thread."""
        self._posted.append((action, arguments))
        os.eventfd_write(self._bell, 1)

    def _do_posted(self) -> None:
        while self._posted:
            action, arguments = self._posted.popleft()
            action(*arguments)

    def _print(self, job: Job, stream: int, data: bytes) -> None:
        self._post(self._send_output, job, stream, data)

    def _arm(self, job: Job) -> None:
        if job.deadline_ns < self._wakes_at_ns:
            os.eventfd_write(self._bell, 1)

    def _block(self, job: Job, blocked: bool) -> None:  # noqa: FBT001  # a hook's argument
        self._post(self._note_blocked, job, blocked)

    def _note_blocked(self, job: Job, blocked: bool) -> None:  # noqa: FBT001  # as above
        if job in self._jobs:
            self._send_blocked(job, blocked=blocked)

    # ---- the threads

    def _start(self, job: Job) -> None:
        self._tasks.put(job)
        if self._idle:
            self._idle -= 1
        else:
            threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        """The life of a thread: one job after another, until one was taken from it."""
        try:
            while self._work_on(self._tasks.get()):
                pass
        except (CallInterrupt, CallTimeoutError):  # thrown in from outside, and it came late
            return
        finally:
            self._post(self._thread_freed)

    def _work_on(self, job: Job) -> bool:
        """Run a job; whether this thread goes on."""
        job.runner = threading.get_ident()
        outcome = self._run(job)
        with job.lock:
            job.finished = not job.abandoned
        if job.finished:
            self._post(self._thread_done, job, outcome)
        return job.finished

    def _run(self, job: Job) -> Outcome:
        job.begin()
        try:
            function = job.unit.plan.function()
            job.arm()
            outcome = job.succeeded(self._call(function, job.unit.arguments(job.item)))
        except BaseException as error:  # noqa: BLE001  # whatever user code raises is its result
            outcome = job.raised(error)
        job.close_output()
        return outcome

    def _thread_done(self, job: Job, outcome: Outcome) -> None:
        self._idle += 1
        self._finished(job, outcome)

    def _thread_freed(self) -> None:
        self._stuck -= 1

    def _interrupt(self, job: Job, error: type[BaseException]) -> None:
        self._stuck += 1
        if job.runner is not None:
            thread = ctypes.c_ulong(job.runner)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(error))
