"""Processes of a unit that its supervisor can no longer end, since it was killed.

The command itself dies with its supervisor, and the keeper ends what it finds; this is for when the
keeper is gone too. A process is known by the mark in its environment, by the command's session, or
by being below one of those.
"""

from __future__ import annotations

import os
import signal
import time

from gridloom.worker.supervision import processes
from gridloom.worker.supervision.handover import MARKER

_PATIENCE_S = 5.0
_PAUSE_S = 0.01


def end_strays(marker: str, command: int | None) -> bool:
    """Kill them all; whether none is left. Blocks for up to five seconds.

    `command` is the pid that the command had, and with it its session.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while found := _frozen(marker, command):
        processes.send(found, signal.SIGKILL)
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE_S)
    return True


def _frozen(marker: str, command: int | None) -> set[int]:
    """Find and stop them, until nobody is left who could fork another."""
    found: set[int] = set()
    while fresh := find_strays(marker, command) - found:
        processes.send(fresh, signal.SIGSTOP)
        found |= fresh
    return found


def find_strays(marker: str, command: int | None) -> set[int]:
    """Return every living process of the unit."""
    mark = f"{MARKER}={marker}".encode()
    marked = {pid for pid in processes.every_pid() if _is_marked(pid, mark)}
    if command is not None and _is_session_ours(command, marked):
        marked |= {pid for pid in processes.every_pid() if processes.session(pid) == command}
    below = {each for pid in marked for each in processes.descendants(pid)}
    return {pid for pid in marked | below if processes.start_time(pid) is not None} - {os.getpid()}


def _is_marked(pid: int, mark: bytes) -> bool:
    return mark in processes.read_proc(f"{pid}/environ").split(b"\0")


def _is_session_ours(command: int, marked: set[int]) -> bool:
    """A number is taken while anybody is in its session; an unmarked leader is a stranger."""
    return command in marked or processes.start_time(command) is None
