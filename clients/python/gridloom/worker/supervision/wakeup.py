"""Wait for signals, descriptors and a point in time, all at once, in a process with one thread."""

from __future__ import annotations

import os
import select
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType


class Wakeup:
    """Collects signals that arrive at any moment until somebody asks for them."""

    def __init__(self, signals: Iterable[int]) -> None:
        self._reading, self._writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._reading, select.POLLIN)
        for number in signals:
            signal.signal(number, _noted)
        # A full pipe still wakes, and each signal is only a hint to look.
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)

    def add(self, descriptor: int) -> None:
        """Wake up for this descriptor too, when it can be read or has been hung up."""
        self._poll.register(descriptor, select.POLLIN)

    def remove(self, descriptor: int) -> None:
        """Forget a descriptor."""
        self._poll.unregister(descriptor)

    def wait(self, until: float | None) -> tuple[set[int], set[int]]:
        """Signals that came and descriptors that are ready; none of both once `until` has come.

        `until` is in the seconds of `time.monotonic`; None: for ever.
        """
        # One millisecond more than asked: poll rounds down, and waking early would be for nothing.
        timeout_ms = None if until is None else max(0, int((until - time.monotonic()) * 1000) + 1)
        ready = {descriptor for descriptor, _ in self._poll.poll(timeout_ms)}
        if self._reading not in ready:
            return set(), ready
        return set(os.read(self._reading, 4096)), ready - {self._reading}

    def close(self) -> None:
        """Stop collecting; the handlers stay, and do nothing."""
        signal.set_wakeup_fd(-1)
        os.close(self._reading)
        os.close(self._writing)


def _noted(_number: int, _frame: FrameType | None) -> None:
    """Nothing to do: the byte in the pipe is what counts."""
