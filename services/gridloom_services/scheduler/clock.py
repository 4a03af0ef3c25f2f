"""Time, as the scheduler sees it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

SECOND_US = 1_000_000
# The longest sleep at a stretch, so that a change of the machine's clock is noticed.
_LONGEST_SLEEP_S = 300.0


class Clock(Protocol):
    """Time, and what is due at some point of it. The runtime's twin speaks of the same."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def call_at(self, when: float, action: Callable[[], None]) -> None:
        """Call `action` once, when it is `when`."""


class SystemClock:
    """The machine's own clock, through the running event loop."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def call_at(self, when: float, action: Callable[[], None]) -> None:
        """Call `action` once, when it is `when`."""
        asyncio.get_running_loop().call_later(max(when - time.time(), 0.0), action)


def now_us(clock: Clock) -> int:
    """Return the present in whole microseconds."""
    return round(clock.now() * SECOND_US)


class Alarm:
    """Rings no later than it should: at the earliest point that was asked for, or before."""

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._due: float | None = None

    def set(self, due_us: int | None) -> None:
        """Ring at that point at the latest, once; None: nothing is asked for."""
        if due_us is None:
            return
        when = min(due_us / SECOND_US, self._clock.now() + _LONGEST_SLEEP_S)
        if self._due is None or when < self._due:
            self._due = when
            self._clock.call_at(when, lambda: self._rung(when))

    def _rung(self, when: float) -> None:
        if self._due == when:
            self._due = None
            self._ring()
