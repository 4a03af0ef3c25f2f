"""A worker as its host sees it, and how it is forked."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from gridloom.api.functions.v1 import pool_pb2
from gridloom.worker.output import STDERR, STDOUT, CaptureFile, flush_python_streams
from gridloom.worker.progress import READY, Alarm, Board, Place
from gridloom.worker.seat import PoolSettings, Seat
from gridloom.worker.supervision import processes

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST_COMPLAINT_BYTES = 60_000
_EXIT_COULD_NOT_WORK = 3


@dataclass(slots=True)
class Child:
    """A living worker."""

    pid: int
    seat: Seat
    complaints: int
    # How many processes the machine had killed for want of memory before this one.
    kernel_kills: int = 0
    retires: bool = False
    retire_by_ns: int = 0
    timed_out: bool = False
    out_of_memory: bool = False
    peak_bytes: int = 0
    # The place at the last look, and whether it was knocked at there.
    last_place: Place | None = None
    knocked: bool = False
    warned: set[tuple[Place, int]] = field(default_factory=set)

    @property
    def is_ready(self) -> bool:
        """It has said hello."""
        return bool(self.seat.board.header[READY])

    def complaint(self) -> str:
        """Why it could not work, if it has said so."""
        with contextlib.suppress(BlockingIOError):
            return os.read(self.complaints, _LONGEST_COMPLAINT_BYTES).decode(errors="replace")
        return ""

    def close(self) -> None:
        """Give back what the host holds of it."""
        os.close(self.complaints)
        for file in self.seat.captures or ():
            file.close()


@dataclass(frozen=True, slots=True)
class Nursery:
    """Everything that new workers have in common."""

    pool: PoolSettings
    host_id: str
    alarm: Alarm
    bell: int
    work: Callable[[Seat], None]

    def fork(self, number: int, leave: Callable[[], None]) -> Child:
        """A new worker. `leave` lets go, in the child, of what is the host's."""
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        seat = self._seat(number, writing)
        flush_python_streams()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _live(seat, self.work, leave, parent)
        os.close(writing)
        return Child(pid, seat, reading, processes.kernel_kills())

    def _seat(self, number: int, complaints: int) -> Seat:
        captured = self.pool.concurrency == pool_pb2.CONCURRENCY_PROCESSES
        return Seat(
            worker_id=f"{self.host_id}.{number}",
            host_id=self.host_id,
            pool=self.pool,
            board=Board(self.pool.slots),
            alarm=self.alarm,
            bell=self.bell,
            complaints=complaints,
            captures=(CaptureFile(STDOUT), CaptureFile(STDERR)) if captured else None,
        )


def _live(
    seat: Seat, work: Callable[[Seat], None], leave: Callable[[], None], parent: int
) -> NoReturn:
    """The whole life of a worker, in the forked child."""
    code = _EXIT_COULD_NOT_WORK
    try:
        leave()
        _become_worker(parent)
        work(seat)
        code = 0
    except BaseException as error:  # noqa: BLE001  # nothing of a child may run on as the host
        _complain(seat.complaints, error)
    finally:
        flush_python_streams()
        os._exit(code)


def _become_worker(parent: int) -> None:
    os.setsid()
    processes.die_with_parent()
    processes.become_subreaper()
    processes.name_process("gl-worker")
    if os.getppid() != parent:
        os._exit(_EXIT_COULD_NOT_WORK)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.enable()


def _complain(descriptor: int, error: BaseException) -> None:
    text = "".join(traceback.format_exception(error))
    sys.stderr.write(text)
    with contextlib.suppress(BlockingIOError):
        os.write(descriptor, text.encode()[-_LONGEST_COMPLAINT_BYTES:])
