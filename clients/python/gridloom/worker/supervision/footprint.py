"""How much memory a tree of processes uses, looked at as often as its limit needs."""

from __future__ import annotations

import os

from gridloom.worker.supervision import processes

# Faster than a process fills memory: what it takes between two looks while it grows is little.
_FILL_BYTES_PER_S = 4 << 30
_SHORTEST_S = 0.005
_GROWING_S = 0.02
# Somebody who has not grown for a while may take this long to be noticed when it does.
_CALM_S = 0.25
_CALM_WITHOUT_LIMIT_S = 2.0
# Less than this over what it was is no growth.
_GROWTH = 1.02


class Footprint:
    """Memory of everything below this process, against a limit (0: none)."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.peak_bytes = 0
        self._now_bytes = 0
        self._calm = 0

    def look(self) -> bool:
        """Measure; whether it is above the limit.

        Shared pages count once where that decides something; elsewhere each time they are mapped.
        """
        pids = processes.descendants(os.getpid())
        used = processes.resident_bytes(pids)
        if 0 < self.limit_bytes < used:
            used = processes.proportional_bytes(pids)
        self._calm = 0 if used > self._now_bytes * _GROWTH else self._calm + 1
        self._now_bytes = used
        self.peak_bytes = max(self.peak_bytes, used)
        return 0 < self.limit_bytes < used

    def pause_s(self) -> float:
        """How long not to look again: short while it grows, and then shorter near the limit."""
        calm_s = _GROWING_S * 2.0 ** min(self._calm, 10)
        if not self.limit_bytes:
            return min(calm_s, _CALM_WITHOUT_LIMIT_S)
        room_s = max(0, self.limit_bytes - self._now_bytes) / _FILL_BYTES_PER_S
        if not self._calm:
            return max(_SHORTEST_S, min(room_s, calm_s))
        return min(max(room_s, calm_s), _CALM_S)

    def note_largest(self, largest_bytes: int) -> None:
        """Take over the largest process's peak, as the kernel kept it.

        A child begins as a copy of this process, and the kernel counts that: no news up to there,
        unless there is nothing better.
        """
        own = processes.resident_bytes([os.getpid()])
        if largest_bytes > own or not self.peak_bytes:
            self.peak_bytes = max(self.peak_bytes, largest_bytes)
