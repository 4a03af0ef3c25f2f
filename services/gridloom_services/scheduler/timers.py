"""What becomes due at a point in time. In memory only: each is set anew from the store."""

from __future__ import annotations

import enum
import heapq

from gridloom.values import dataclass


class TimerKind(enum.Enum):
    """What a timer is for."""

    START_AFTER = "start after"
    DEADLINE = "deadline"
    BACKOFF = "back-off"


@dataclass(frozen=True, slots=True)
class Timer:
    """Something due about a job or one element. Whoever handles it looks whether it still holds."""

    kind: TimerKind
    job_id: str = ""
    element: int = 0


class Timers:
    """Timers by due time. None is ever removed early: what no longer holds is ignored when due."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Timer]] = []
        self._count = 0

    def set(self, due_us: int, timer: Timer) -> None:
        """Have `timer` returned by `due` from `due_us` on."""
        self._count += 1
        heapq.heappush(self._heap, (due_us, self._count, timer))

    @property
    def next_us(self) -> int | None:
        """When the next one is due."""
        return self._heap[0][0] if self._heap else None

    def due(self, now_us: int) -> list[Timer]:
        """Remove and return what is due, in the order of due times."""
        found = []
        while self._heap and self._heap[0][0] <= now_us:
            found.append(heapq.heappop(self._heap)[2])
        return found
