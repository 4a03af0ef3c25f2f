"""A worker as its host sees it, and how it is forked."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from gridloom.api.functions.v1 import pool_pb2
from gridloom.worker.output import STDERR, STDOUT, CaptureFile, flush_python_streams
from gridloom.worker.progress import READY, Alarm, Board, Place
from gridloom.worker.seat import PoolSettings, Seat
from gridloom.worker.supervision import processes

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST_COMPLAINT_BYTES = 60_000
_EXIT_COULD_NOT_WORK = 3


class Child:
    """A living worker."""

    def __init__(self, pid: int, seat: Seat, complaints: int, kernel_kills: int) -> None:
        """`kernel_kills`: how many processes the machine had killed before for want of memory."""
        self.pid = pid
        self.seat = seat
        self.complaints = complaints
        self.kernel_kills = kernel_kills
        self.retires = False
        self.retire_by_ns = 0
        self.timed_out = False
        self.out_of_memory = False
        self.peak_bytes = 0
        # The place at the last look, and whether it was knocked at there.
        self.last_place: Place | None = None
        self.knocked = False
        self.warned: set[tuple[Place, int]] = set()

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


class Nursery(NamedTuple):
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
    # What crashes says where, in its call's output or in the job's log.
    with contextlib.suppress(OSError, ValueError):
        faulthandler.enable(STDERR)


def _complain(descriptor: int, error: BaseException) -> None:
    import traceback

    text = "".join(traceback.format_exception(error))
    sys.stderr.write(text)
    with contextlib.suppress(BlockingIOError):
        os.write(descriptor, text.encode()[-_LONGEST_COMPLAINT_BYTES:])
