"""A thread that looks, a hundred times a second, where another one is."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import CodeType, FrameType

INTERVAL_S = 0.01
_DEEPEST = 500


class Sampler:
    """Of the thread that begins it, above the frame `base`, which is left out itself.

    Works without ptrace, which containers forbid. Code of C is seen as the Python line that called
    it; one that keeps the interpreter's lock is seen when it gives it back, with all of its time.
    """

    def __init__(self, base: FrameType) -> None:
        self._base: FrameType | None = base
        self._thread_id = threading.get_ident()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="gridloom-sampler", daemon=True)
        self.stacks: dict[tuple[CodeType, ...], float] = {}
        """Seconds by stack, the outermost function first."""

    def begin(self) -> None:
        """Look from now on."""
        self._thread.start()

    def end(self) -> None:
        """Look no more."""
        self._is_over.set()
        self._thread.join()
        self._base = None

    def _look(self) -> None:
        last = time.perf_counter()
        while not self._is_over.wait(INTERVAL_S):
            frame = sys._current_frames().get(self._thread_id)  # noqa: SLF001  # its only name
            now = time.perf_counter()
            stack = self._stack(frame)
            if stack:
                self.stacks[stack] = self.stacks.get(stack, 0.0) + now - last
            last = now

    def _stack(self, frame: FrameType | None) -> tuple[CodeType, ...]:
        found: list[CodeType] = []
        while frame is not None and frame is not self._base and len(found) < _DEEPEST:
            found.append(frame.f_code)
            frame = frame.f_back
        return tuple(reversed(found))
