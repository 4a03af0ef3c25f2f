"""How long and how often a call that nobody answered is tried again."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0
# A connection that cannot be made has failed by then: a stream that lasted longer was served.
_CONNECTS_WITHIN_S = 30.0
# So was one that the platform ended itself, unless it does so each time at once.
_SERVED_AFTER_S = 0.5
# Our own: whoever seeds `random` to have a study repeated gets the same numbers each time.
_CHANCE = random.SystemRandom()


class Patience:
    """A deadline and the pauses within it: the server's hint, else doubling with some chance."""

    def __init__(self, limit_s: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._limit_s = limit_s
        self._ends = None if limit_s is None else clock() + limit_s
        self._pause_s = _FIRST_PAUSE_S
        self._stream_since = clock()

    @property
    def remaining_s(self) -> float | None:
        """Seconds left, at least 0; None without a deadline."""
        return None if self._ends is None else max(0.0, self._ends - self._clock())

    def renewed(self) -> None:
        """Something was answered: the next trouble is a new one."""
        self._pause_s = _FIRST_PAUSE_S
        if self._limit_s is not None:
            self._ends = self._clock() + self._limit_s

    def stream_begins(self) -> None:
        """A stream is asked for, on which nothing may come for as long as nothing happens."""
        self._stream_since = self._clock()

    def stream_ended(self, *, was_told: bool) -> None:
        """It is over, `was_told` so by the platform: if it was served, the trouble is a new one."""
        lasted_s = self._clock() - self._stream_since
        if lasted_s > (_SERVED_AFTER_S if was_told else _CONNECTS_WITHIN_S):
            self.renewed()

    def next_pause_s(self, hint_s: float | None = None) -> float | None:
        """How long to wait before the next try; None when it would come too late."""
        drawn = self._pause_s * _CHANCE.uniform(0.5, 1.0)
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        pause = drawn if hint_s is None else hint_s
        remaining = self.remaining_s
        return pause if remaining is None or pause < remaining else None
