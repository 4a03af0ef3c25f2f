"""How a worker ended, as the service is told."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, NamedTuple

from gridloom.api.functions.v1 import worker_pb2
from gridloom.worker.supervision import processes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from gridloom.worker.child import Child


class Burial(NamedTuple):
    """A child that was reaped. `code` is Python's return code: negative, a signal."""

    pid: int
    code: int
    peak_bytes: int

    @property
    def signal(self) -> int:
        """The signal that ended it, or 0."""
        return max(-self.code, 0)

    @property
    def how(self) -> str:
        """For people."""
        if self.code < 0:
            return f"signal {signal.Signals(-self.code).name}"
        return f"exit code {self.code}"


def buried(children: Collection[int]) -> list[Burial]:
    """Reap everything that has ended; what was a worker."""
    found: list[Burial] = []
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid in children:
            code = os.waitstatus_to_exitcode(status)
            found.append(Burial(pid, code, usage.ru_maxrss * 1024))


def last_words(child: Child) -> Iterator[worker_pb2.WorkerOutput]:
    """What a dead worker had printed and could not send any more."""
    place = next((place for place, _ in child.seat.board.places()), None)
    for file in child.seat.captures or ():
        data = file.unread(child.seat.board.header)
        if place is not None and data:
            yield worker_pb2.WorkerOutput(
                batch=place.batch,
                unit=place.unit,
                item=place.item,
                stream=file.stream,
                data=data,
            )


def death_notice(child: Child, burial: Burial, limit_bytes: int) -> worker_pb2.WorkerDied:
    """What the service should know. A worker that was told to go was in no call of its own.

    `limit_bytes` is the memory that it might have had; 0: any.
    """
    places = [place for place, _ in child.seat.board.places()]
    notice = worker_pb2.WorkerDied(
        worker_id=child.seat.worker_id,
        exit_code=max(burial.code, 0),
        signal=burial.signal,
        out_of_memory=child.out_of_memory or _killed_by_kernel(child, burial),
        timed_out=child.timed_out,
        peak_memory_bytes=max(child.peak_bytes, burial.peak_bytes),
        limit_memory_bytes=limit_bytes,
    )
    if places and not child.retires:
        first = places[0]
        notice.busy, notice.batch = True, first.batch
        notice.unit, notice.item = first.unit, first.item
        for place in places[1:]:
            notice.others.add(batch=place.batch, unit=place.unit, item=place.item)
    return notice


def _killed_by_kernel(child: Child, burial: Burial) -> bool:
    """Whether the kernel took it for want of memory: it kills, and counts its kills."""
    if burial.signal != signal.SIGKILL:
        return False
    return processes.kernel_kills() > child.kernel_kills
