"""The keeper: launches supervisors fast, and ends what a killed supervisor leaves behind.

A runtime starts one and talks to it over a socket (descriptor 0): each message is a folder, each
answer the pid of the supervisor that was forked for it, or "error REASON". A fork of a process that
has everything loaded costs a few milliseconds and little memory.

It is a subreaper: what a supervisor that was killed had started becomes its child, and is killed at
once. So it stays after the runtime has gone, until its last supervisor has ended.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import NoReturn

from gridloom.worker.supervision import entries, handover, processes
from gridloom.worker.supervision.records import read_record
from gridloom.worker.supervision.wakeup import Wakeup
from gridloom.worker.supervisor import supervise

LONGEST_MESSAGE_BYTES = 8192
READY = b"ready"
_LOOK_AGAIN_S = 0.01


class Keeper:
    """Forks supervisors on request and reaps them."""

    def __init__(self, door: socket.socket) -> None:
        self._door = door
        self._open = True
        self._supervisors: set[int] = set()
        self._has_loaded = False
        self._wakeup = Wakeup((signal.SIGCHLD, signal.SIGTERM))
        self._wakeup.add(door.fileno())

    def run(self) -> None:
        """Serve until the runtime has gone and all supervisors have ended."""
        with contextlib.suppress(BrokenPipeError):  # the runtime died meanwhile
            self._door.send(READY)
        until = None
        while self._open or self._supervisors or until:
            _, ready = self._wakeup.wait(until)
            if ready:
                self._answer()
            self._reap()
            # Below an orphan that was killed there may be others: look again.
            until = time.monotonic() + _LOOK_AGAIN_S if self._end_orphans() else None

    def _answer(self) -> None:
        message = self._door.recv(LONGEST_MESSAGE_BYTES)
        if not message:
            self._open = False
            self._wakeup.remove(self._door.fileno())
            return
        try:
            pid = os.fork()
        except OSError as error:
            self._door.send(f"error {error.strerror}".encode())
            return
        if pid == 0:
            self._become_supervisor(Path(os.fsdecode(message)))
        self._supervisors.add(pid)
        with contextlib.suppress(OSError):  # the runtime died: the supervisor lives all the same
            self._door.send(str(pid).encode())
        if not self._has_loaded:
            self._load_what_runs_in(Path(os.fsdecode(message)))

    def _load_what_runs_in(self, folder: Path) -> None:
        """With the first that is asked for: those that come will not have to."""
        with contextlib.suppress(OSError, ImportError):  # it is theirs to fail with it
            spec = read_record(folder / handover.SPEC) or {}
            if entries.own_program(spec.get("command", ()), spec.get("env", {})):
                entries.load()
                gc.freeze()
                self._has_loaded = True

    def _become_supervisor(self, folder: Path) -> NoReturn:
        code = 1
        try:
            self._wakeup.close()
            self._door.close()
            os.setsid()
            _redirect(folder / handover.ERRORS)
            supervise(folder)
            code = 0
        except BaseException:  # noqa: BLE001 - no exception may lead back into the keeper's loop
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        ended: dict[int, int] = {}
        processes.reap(ended)
        self._supervisors.difference_update(ended)

    def _end_orphans(self) -> bool:
        """Kill whatever lost its supervisor; whether there was something."""
        orphans = set(processes.children(os.getpid())) - self._supervisors
        for orphan in orphans:
            processes.send([orphan], signal.SIGSTOP)
            processes.send({orphan, *processes.freeze_descendants(orphan)}, signal.SIGKILL)
        return bool(orphans)


def _redirect(errors: Path) -> None:
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    log = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.dup2(log, 2)
    os.close(nothing)
    os.close(log)


def main() -> None:
    """Entry: descriptor 0 is the socket to the runtime."""
    if os.fork() > 0:
        os._exit(0)  # whoever started this need not wait for it
    os.chdir("/")
    processes.close_inherited()
    # Descriptor 0 is free for good: a supervisor's own standard input takes its place.
    door = socket.socket(fileno=os.dup(0))
    processes.become_subreaper()
    processes.name_process("gl-keeper")
    for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    gc.freeze()  # what is loaded now is shared with every supervisor, and stays so
    Keeper(door).run()
