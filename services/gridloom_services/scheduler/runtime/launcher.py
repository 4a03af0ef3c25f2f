"""The runtime's side of the keeper: where supervisors come from."""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import gridloom.worker

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST_BYTES = 8192
_START_TIMEOUT_S = 30.0


def bare_python(entry: str, *arguments: str) -> list[str]:
    """Return the command line that calls `main` of a module of the SDK's package, fast.

    Without site packages and without a look at the environment: only the standard library and
    `gridloom.worker` are meant to be imported there.
    """
    above = str(Path(gridloom.worker.__path__[0]).parents[1])
    code = f"import sys; sys.path.append({above!r}); from {entry} import main; main()"
    return [sys.executable, "-I", "-S", "-c", code, *arguments]


class LauncherError(OSError):
    """A supervisor could not be launched: the machine is short of something."""


class Launcher:
    """Starts supervisors through a keeper, which it starts when there is none (any more).

    Any thread may call it. `environment` is what commands inherit.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._lock = threading.Lock()
        self._door: socket.socket | None = None

    def warm_up(self) -> None:
        """Have the keeper ready."""
        with self._lock:
            self._ready_door()

    def launch(self, folder: Path) -> int:
        """Start the supervisor of a unit's folder; its pid. Raises LauncherError."""
        with self._lock:
            try:
                answer = self._ask(os.fsencode(folder))
            except ConnectionError:
                self._drop()
                answer = self._ask(os.fsencode(folder))
        if answer.startswith(b"error"):
            raise LauncherError(answer.decode(errors="replace"))
        return int(answer)

    def close(self) -> None:
        """Part from the keeper; it stays as long as it has supervisors."""
        with self._lock:
            self._drop()

    def _ask(self, message: bytes) -> bytes:
        door = self._ready_door()
        try:
            door.send(message)
            answer = door.recv(_LONGEST_BYTES)
        except TimeoutError:
            self._drop()  # its answer may come yet, and would be taken for another's
            raise
        if not answer:
            raise ConnectionResetError("the keeper is gone")
        return answer

    def _ready_door(self) -> socket.socket:
        if self._door is None:
            self._door = self._start()
        return self._door

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            pid = os.posix_spawn(
                sys.executable,
                bare_python("gridloom.worker.supervision.keeper"),
                self._environment,
                file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0)],
                setsid=True,
            )
        ours.settimeout(_START_TIMEOUT_S)
        ready = ours.recv(_LONGEST_BYTES)
        os.waitpid(pid, 0)  # the keeper has forked away from it
        if not ready:
            ours.close()
            raise LauncherError("the keeper of the supervisors does not start")
        return ours

    def _drop(self) -> None:
        if self._door is not None:
            self._door.close()
            self._door = None
