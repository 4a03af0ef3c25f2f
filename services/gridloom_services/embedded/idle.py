"""When an embedded platform ends by itself: nothing to do, and nobody there, for long enough."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST_STEP_S = 5.0


class IdleClock:
    """Since when nothing was going on. Asked from time to time."""

    def __init__(
        self,
        is_idle: Callable[[], bool],
        quiet_s: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_idle = is_idle
        self._quiet_s = quiet_s
        self._clock = clock
        self._since: float | None = None

    def idle_s(self) -> float:
        """For how long: since the last call ended, and since the work was first seen to be done."""
        if not self._is_idle():
            self._since = None
            return 0.0
        if self._since is None:
            self._since = self._clock()
        return min(self._clock() - self._since, self._quiet_s())


async def until_idle(clock: IdleClock, timeout_s: float) -> None:
    """Return when nothing has been going on for `timeout_s`; never for 0."""
    if timeout_s == 0:
        await asyncio.Event().wait()
    step = min(_LONGEST_STEP_S, timeout_s / 4)
    while clock.idle_s() < timeout_s:  # noqa: ASYNC110  # idleness is the absence of events
        await asyncio.sleep(step)
