"""Processes as the kernel shows them: trees, memory, identity, and the three calls of prctl.

Linux only: /proc with `children` files, subreapers, parent-death signals.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import time
from typing import TYPE_CHECKING

from gridloom.worker.supervision.handover import Identity

if TYPE_CHECKING:
    from collections.abc import Iterable

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_FALLOC_FL_KEEP_SIZE = 1
_FALLOC_FL_PUNCH_HOLE = 2
_STANDARD_ERROR = 2
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# Rounds of looking for what was forked while the others were being stopped.
_FREEZE_ROUNDS = 100
_GONE_OR_CLOSED = (FileNotFoundError, ProcessLookupError, PermissionError)

_GONE_OR_FORBIDDEN = (errno.ESRCH, errno.EPERM)

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def become_subreaper() -> None:
    """From now on every orphan below this process becomes its child, none is lost to init."""
    nothing = ctypes.c_ulong(0)
    _checked(_libc.prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), nothing, nothing, nothing))


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Get this signal when the thread that forked this process ends. Holds through exec."""
    nothing = ctypes.c_ulong(0)
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(number), nothing, nothing, nothing))


def name_process(name: str) -> None:
    """Show this name (15 bytes) where `ps -o comm` and `top` look."""
    nothing = ctypes.c_ulong(0)
    _checked(_libc.prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()), nothing, nothing, nothing))


def punch_hole(descriptor: int, first: int, end: int) -> None:
    """Give the blocks of a part of a file back to the disk; sizes and offsets stay.

    OSError where the file system cannot do that.
    """
    mode = _FALLOC_FL_KEEP_SIZE | _FALLOC_FL_PUNCH_HOLE
    place = ctypes.c_longlong(first), ctypes.c_longlong(end - first)
    _checked(_libc.fallocate(descriptor, mode, *place))


def read_proc(path: str) -> bytes:
    """Content of a file below /proc; empty where the process is gone or another user's."""
    try:
        descriptor = os.open(f"/proc/{path}", os.O_RDONLY | os.O_CLOEXEC)
    except _GONE_OR_CLOSED:
        return b""
    parts: list[bytes] = []
    try:
        while part := os.read(descriptor, 65536):
            parts.append(part)
    except _GONE_OR_CLOSED:
        return b""
    finally:
        os.close(descriptor)
    return b"".join(parts)


def _listed(path: str) -> list[int]:
    try:
        with os.scandir(f"/proc/{path}") as entries:
            return [int(entry.name) for entry in entries if entry.name.isdigit()]
    except _GONE_OR_CLOSED:
        return []


def close_inherited() -> None:
    """Close every descriptor but the three standard ones: a starter may have left some open."""
    for descriptor in _listed("self/fd"):
        if descriptor > _STANDARD_ERROR:
            with contextlib.suppress(OSError):  # the one that listed them
                os.close(descriptor)


def boot_id() -> str:
    """Return what tells this run of the machine from all others."""
    return read_proc("sys/kernel/random/boot_id").decode().strip()


def _stat(pid: int) -> list[bytes]:
    """Fields of /proc/PID/stat from the state (field 3) on; none if there is no such process."""
    text = read_proc(f"{pid}/stat")
    # The name before it may hold anything, blanks and brackets too.
    return text[text.rindex(b")") + 2 :].split() if text else []


def start_time(pid: int) -> int | None:
    """When the process began, in the kernel's ticks; None if it is not there or is a zombie."""
    fields = _stat(pid)
    return int(fields[19]) if fields and fields[0] not in b"ZX" else None


def group(pid: int) -> int | None:
    """Return the process group of a process; None if it is not there."""
    fields = _stat(pid)
    return int(fields[2]) if fields else None


def session(pid: int) -> int | None:
    """Return the session of a process; None if it is not there."""
    fields = _stat(pid)
    return int(fields[3]) if fields else None


def identity(pid: int) -> Identity | None:
    """Return who has this number now; None for nobody."""
    began = start_time(pid)
    return None if began is None else Identity(pid, began, boot_id())


def is_alive(process: Identity) -> bool:
    """That very process is there and not a zombie."""
    return start_time(process.pid) == process.start_time and boot_id() == process.boot_id


def every_pid() -> list[int]:
    """All processes that this one can see."""
    return _listed("")


def children(pid: int) -> list[int]:
    """Direct children of a process, zombies included; none if it is not there."""
    found: list[int] = []
    for thread in _listed(f"{pid}/task"):
        found += map(int, read_proc(f"{pid}/task/{thread}/children").split())
    return found


def descendants(pid: int) -> list[int]:
    """Everything below a process, nearest first. What forks meanwhile may be missed."""
    found = children(pid)
    for each in found:
        found += children(each)
    return found


def send(pids: Iterable[int], number: int) -> None:
    """Signal each of them that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def send_to_main_thread(pid: int, number: int) -> None:
    """Signal the first thread of a process that is still there: what sleeps there wakes up.

    Python's handlers run in that thread, and a signal to the whole process may go to any other.
    """
    if _libc.tgkill(pid, pid, number) != 0 and ctypes.get_errno() not in _GONE_OR_FORBIDDEN:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def freeze_descendants(pid: int) -> set[int]:
    """Stop everything below a process, also what forks faster than one looks; who that was."""
    stopped: set[int] = set()
    for _ in range(_FREEZE_ROUNDS):
        running = set(descendants(pid)) - stopped
        if not running:
            break
        send(running, signal.SIGSTOP)
        stopped |= running
    return stopped


def reap(codes: dict[int, int]) -> bool:
    """Take the return codes of all children that have ended; whether there are others."""
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return True
            codes[pid] = os.waitstatus_to_exitcode(status)
    except ChildProcessError:
        return False


def end_descendants(patience_s: float = 10.0) -> tuple[dict[int, int], bool]:
    """Kill and reap everything below this process, which must be a subreaper.

    Return codes by pid, and whether nothing is left: what hangs in the kernel cannot be killed, and
    is given up after `patience_s`.
    """
    codes: dict[int, int] = {}
    deadline = time.monotonic() + patience_s
    pause_s = 0.0005
    while reap(codes):
        if time.monotonic() > deadline:
            return codes, False
        send(freeze_descendants(os.getpid()), signal.SIGKILL)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 0.05)
    return codes, True


def resident_bytes(pids: Iterable[int]) -> int:
    """Memory of all of them, shared pages counted each time: never less than what they use."""
    sizes = (read_proc(f"{pid}/statm").split() for pid in pids)
    return sum(int(fields[1]) for fields in sizes if fields) * _PAGE_BYTES


def proportional_bytes(pids: Iterable[int]) -> int:
    """Memory of all of them, each shared page counted once. Dear: the kernel walks every page."""
    return sum(map(_proportional, pids))


def _proportional(pid: int) -> int:
    for line in read_proc(f"{pid}/smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    return resident_bytes([pid])


def kernel_kills() -> int:
    """How many processes the kernel has killed on this machine for want of memory; 0: unknown."""
    for line in read_proc("vmstat").splitlines():
        if line.startswith(b"oom_kill "):
            return int(line.split()[1])
    return 0
