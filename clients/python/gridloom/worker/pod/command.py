"""The command that a sidecar stands beside: is it alive, and how it is asked to end."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from typing import TYPE_CHECKING

from gridloom.worker.pod.order import PID
from gridloom.worker.supervision.processes import start_time

if TYPE_CHECKING:
    from pathlib import Path


class Command:
    """A process of another container of the same pod, known by its number."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor: int | None = None
        with contextlib.suppress(ProcessLookupError):
            self._descriptor = os.pidfd_open(pid)
        ticks = start_time(pid)
        since_boot = time.clock_gettime(time.CLOCK_BOOTTIME)
        begun = since_boot if ticks is None else ticks / os.sysconf("SC_CLK_TCK")
        # On the clock of `time.monotonic`: when it began.
        self.began = time.monotonic() - max(0.0, since_boot - begun)

    @property
    def is_over(self) -> bool:
        """It has ended."""
        return self._descriptor is None or bool(self.wait(0.0))

    def wait(self, seconds: float) -> bool:
        """Wait for its end, so long at most; True: it has ended."""
        if self._descriptor is None:
            return True
        ready, _, _ = select.select([self._descriptor], [], [], seconds)
        return bool(ready)

    def terminate(self) -> None:
        """Ask it to end, with its process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it. What else is in its container goes with it."""
        self._send(signal.SIGKILL)

    def notify(self) -> None:
        """Tell it that the list of its replicas has changed."""
        self._send(signal.SIGHUP)

    def _send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


def find_command(folder: Path) -> Command | None:
    """Return the command, once it has said which process it is."""
    try:
        text = (folder / PID).read_text(encoding="ascii")
    except FileNotFoundError:
        return None
    return Command(int(text)) if text.endswith("\n") else None
