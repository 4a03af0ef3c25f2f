"""How a local runtime learns that something has changed, without looking all the time.

Supervisors send a datagram (the unit's name) after each change, and the kernel tells of the end of
a process. Both only wake somebody who then reads the files.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import TYPE_CHECKING

from gridloom.worker.supervision import handover, processes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_LONGEST_BYTES = 4096


class Doorbell:
    """The socket that supervisors ring."""

    def __init__(self, root: Path, ring: Callable[[str], None]) -> None:
        self._ring = ring
        path = root / handover.NOTIFY
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        # The path of a socket may have 107 bytes only; this way is short wherever the folder lies.
        folder = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._socket.bind(f"/proc/self/fd/{folder}/{handover.NOTIFY}")
        finally:
            os.close(folder)
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def _read(self) -> None:
        try:
            while True:
                self._ring(self._socket.recv(_LONGEST_BYTES).decode(errors="replace"))
        except BlockingIOError:
            return

    def close(self) -> None:
        """Listen no more."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()


class ProcessHandle:
    """A living process, which may be any process's child. `over` is set when it ends."""

    def __init__(self, descriptor: int, news: asyncio.Event) -> None:
        self._descriptor = descriptor
        self._news = news
        self.over = False
        asyncio.get_running_loop().add_reader(descriptor, self._end)

    @classmethod
    def open(cls, process: handover.Identity, news: asyncio.Event) -> ProcessHandle | None:
        """Hold on to that very process; None if it is not alive. `news` is set when it ends."""
        try:
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return None
        # Asked after the descriptor is open: it cannot be another process any more.
        if not processes.is_alive(process):
            os.close(descriptor)
            return None
        return cls(descriptor, news)

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        self.over = True
        self._news.set()

    def poke(self) -> None:
        """Tell a supervisor that its files have changed."""
        if not self.over:
            try:
                signal.pidfd_send_signal(self._descriptor, signal.SIGUSR1)
            except ProcessLookupError:
                return

    def close(self) -> None:
        """Let go of it."""
        if not self.over:
            asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
