"""Run-length sets of an array's positions: a hundred thousand waiting elements are two numbers."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class Runs:
    """A set of positions as disjoint runs in ascending order."""

    __slots__ = ("_firsts", "_stops")

    def __init__(self, runs: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._stops: list[int] = []
        for first, count in runs:
            self.add(first, count)

    def __contains__(self, position: int) -> bool:
        at = bisect_right(self._firsts, position) - 1
        return at >= 0 and position < self._stops[at]

    def __iter__(self) -> Iterator[int]:
        for first, stop in zip(self._firsts, self._stops, strict=True):
            yield from range(first, stop)

    def __len__(self) -> int:
        return sum(self._stops) - sum(self._firsts)

    def first(self) -> int:
        """The lowest position; there must be one."""
        return self._firsts[0]

    def pairs(self) -> tuple[tuple[int, int], ...]:
        """The runs as (first, count)."""
        return tuple((a, b - a) for a, b in zip(self._firsts, self._stops, strict=True))

    def add(self, first: int, count: int) -> int:
        """Add a run; returns how many of its positions were new."""
        if count <= 0:
            return 0
        stop = first + count
        low = bisect_left(self._stops, first)
        high = bisect_right(self._firsts, stop)
        joined = range(low, high)
        held = sum(max(0, min(self._stops[i], stop) - max(self._firsts[i], first)) for i in joined)
        if joined:
            first = min(first, self._firsts[low])
            stop = max(stop, self._stops[high - 1])
        self._firsts[low:high] = [first]
        self._stops[low:high] = [stop]
        return count - held

    def remove(self, position: int) -> bool:
        """Take a position out; returns whether it was in."""
        at = bisect_right(self._firsts, position) - 1
        if at < 0 or position >= self._stops[at]:
            return False
        first, stop = self._firsts[at], self._stops[at]
        parts = [(a, b) for a, b in ((first, position), (position + 1, stop)) if a < b]
        self._firsts[at : at + 1] = [a for a, _ in parts]
        self._stops[at : at + 1] = [b for _, b in parts]
        return True


def grouped(positions: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Consecutive positions as runs (first, count); the order given is kept."""
    if isinstance(positions, range) and positions.step == 1:
        if positions:
            yield positions.start, len(positions)
        return
    first = stop = 0
    for position in positions:
        if position == stop and stop > first:
            stop += 1
            continue
        if stop > first:
            yield first, stop - first
        first, stop = position, position + 1
    if stop > first:
        yield first, stop - first
