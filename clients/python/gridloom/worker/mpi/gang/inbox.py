"""From threads to the agent's one loop."""

from __future__ import annotations

import contextlib
import os
import queue
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom.worker.mpi.streams import Ears

T = TypeVar("T")


class Inbox(Generic[T]):
    """What any thread puts in, the loop takes out, in order."""

    def __init__(self, ears: Ears, take: Callable[[T], object]) -> None:
        self._items: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._take = take
        bell, self._ringer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        ears.listen(bell, self._rung)

    def put(self, item: T) -> None:
        """From any thread."""
        self._items.put(item)
        with contextlib.suppress(BlockingIOError):  # it rings already
            os.write(self._ringer, b".")

    def _rung(self, _: bytes) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._take(self._items.get_nowait())
