"""The agent's ears: pipes of ranks and launcher, signals, and the launcher's end."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK_BYTES = 1 << 16
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Ears:
    """Calls who is registered for a descriptor when there is something to read on it."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self.signals: set[int] = set()
        wake, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._waker)
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)
        self.listen(wake, self.signals.update)

    def listen(self, descriptor: int, take: Callable[[bytes], object]) -> None:
        """Give each piece that comes on the descriptor to `take`; the last one is empty."""
        os.set_blocking(descriptor, False)
        self._selector.register(descriptor, selectors.EVENT_READ, take)

    def when_over(self, pid: int, tell: Callable[[], object]) -> None:
        """Call when a child has ended, once."""
        descriptor = os.pidfd_open(pid)

        def told(_: bytes) -> None:
            self.forget(descriptor)
            tell()

        self._selector.register(descriptor, selectors.EVENT_READ, told)

    def forget(self, descriptor: int) -> None:
        """Nobody listens to it any more; it is closed."""
        self._selector.unregister(descriptor)
        os.close(descriptor)

    def wait(self, timeout_s: float | None) -> None:
        """Deal with what comes within this time, at most one piece of each."""
        for key, _ in self._selector.select(timeout_s):
            self._read(key)

    def drain(self) -> None:
        """Deal with everything that is there."""
        while ready := self._selector.select(0):
            for key, _ in ready:
                self._read(key)

    def _read(self, key: selectors.SelectorKey) -> None:
        data = b""
        with contextlib.suppress(OSError):  # of a pidfd nothing can be read
            data = os.read(key.fd, _CHUNK_BYTES)
        key.data(data)
        if not data and key.fd in self._selector.get_map():
            self.forget(key.fd)
