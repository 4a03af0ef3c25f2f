"""A worker that runs calls on an event loop: `async def` functions, many at once.

Functions that are no coroutines run in threads beside the loop, so that they do not hold it up.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from gridloom.worker.attention import KNOCK
from gridloom.worker.slot_worker import SlotWorker

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom.items import Call
    from gridloom.worker.frames import SocketLink
    from gridloom.worker.job import Job, Outcome
    from gridloom.worker.lasting_link import LastingLink
    from gridloom.worker.seat import Seat


class _LoopWatcher:
    """Has the loop call back when a descriptor can be read."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_ready: Callable[[], None]) -> None:
        self._loop = loop
        self._on_ready = on_ready

    def add(self, descriptor: int) -> None:
        """From now on."""
        self._loop.add_reader(descriptor, self._on_ready)

    def remove(self, descriptor: int) -> None:
        """No more."""
        self._loop.remove_reader(descriptor)


class AsyncioWorker(SlotWorker):
    """Runs each item as a task."""

    def __init__(self, seat: Seat, open_link: Callable[[], SocketLink]) -> None:
        super().__init__(seat, open_link)
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        self._loop_thread = threading.get_ident()
        self._threads = ThreadPoolExecutor(max_workers=seat.pool.slots)

    def serve(self) -> None:
        """Work; returns when there is no more to do here."""
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self._loop.add_signal_handler(KNOCK, self._changed.set)
        link = self._settle_in(_LoopWatcher(self._loop, self._changed.set))
        while not self._is_over:
            self._changed.clear()
            self._tend(link)
            if not self._is_over:
                await self._change(link)
        for task in [job.runner for job in self._jobs]:
            task.cancel()

    async def _change(self, link: LastingLink) -> None:
        """Wait until something has come, or is finished, or the link is to be tried again."""
        pause_s = None if link.is_open else max(link.next_try - self._loop.time(), 0.0)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), pause_s)

    # ---- what the base asks for

    def _start(self, job: Job) -> None:
        job.runner = self._loop.create_task(self._work_on(job))

    def _interrupt(self, job: Job, error: type[BaseException]) -> None:
        del error  # a task is told by its own means
        job.runner.cancel()

    def _arm(self, job: Job) -> None:
        """Called in the loop, since functions are opened there."""
        self._loop.call_later(job.unit.plan.timeout_ns / 1e9, self._expire, job)

    def _expire(self, job: Job) -> None:
        if job in self._jobs:
            self._abandon(job, job.timed_out(), TimeoutError)
            self._changed.set()

    def _print(self, job: Job, stream: int, data: bytes) -> None:
        self._in_loop(self._send_output, job, stream, data)

    def _block(self, job: Job, blocked: bool) -> None:  # noqa: FBT001  # a hook's argument
        self._in_loop(self._note_blocked, job, blocked)

    def _note_blocked(self, job: Job, blocked: bool) -> None:  # noqa: FBT001  # as above
        if job in self._jobs:
            self._send_blocked(job, blocked=blocked)

    def _in_loop(self, action: Callable[..., None], *arguments: Any) -> None:
        """Have it done in the loop: at once if this is the loop."""
        if threading.get_ident() == self._loop_thread:
            action(*arguments)
        else:
            self._loop.call_soon_threadsafe(action, *arguments)

    # ---- the tasks

    async def _work_on(self, job: Job) -> None:
        outcome = await self._run(job)
        if self._fork_watch.is_child:
            os._exit(0)
        if not job.abandoned:
            job.finished = True
            self._finished(job, outcome)
            self._changed.set()

    async def _run(self, job: Job) -> Outcome:
        job.begin()
        try:
            loaded = job.unit.plan.load()
            job.arm()
            arguments = job.unit.arguments(job.item)
            if loaded.is_coroutine:
                value = await loaded.function(*arguments[0], **arguments[1])
            else:
                value = await self._in_thread(loaded.function, arguments)
            outcome = job.succeeded(value)
        except BaseException as error:  # noqa: BLE001  # whatever user code raises is its result
            outcome = job.raised(error)
        job.close_output()
        return outcome

    async def _in_thread(self, function: Callable[..., Any], arguments: Call) -> Any:
        context = copy_context()
        value = await self._loop.run_in_executor(
            self._threads, lambda: context.run(self._call, function, arguments)
        )
        return await value if inspect.isawaitable(value) else value
