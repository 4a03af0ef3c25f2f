"""How long and how often a call that nobody answered is tried again."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0
# Our own: whoever seeds `random` to have a study repeated gets the same numbers each time.
_CHANCE = random.SystemRandom()


class Patience:
    """A deadline and the pauses within it: the server's hint, else doubling with some chance."""

    def __init__(self, limit_s: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._limit_s = limit_s
        self._ends = None if limit_s is None else clock() + limit_s
        self._pause_s = _FIRST_PAUSE_S

    @property
    def remaining_s(self) -> float | None:
        """Seconds left, at least 0; None without a deadline."""
        return None if self._ends is None else max(0.0, self._ends - self._clock())

    def renewed(self) -> None:
        """Something was answered: the next trouble is a new one."""
        self._pause_s = _FIRST_PAUSE_S
        if self._limit_s is not None:
            self._ends = self._clock() + self._limit_s

    def next_pause_s(self, hint_s: float | None = None) -> float | None:
        """How long to wait before the next try; None when it would come too late."""
        drawn = self._pause_s * _CHANCE.uniform(0.5, 1.0)
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        pause = drawn if hint_s is None else hint_s
        remaining = self.remaining_s
        return pause if remaining is None or pause < remaining else None
