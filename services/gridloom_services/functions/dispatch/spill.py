"""Which of a lane's blocks are on disk only."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECES = 64
"""Ranges kept apart; with more, neighbours are joined. The rows between belong to other lanes, and
reading skips them, so joining costs time and never correctness."""


class Spill:
    """Blocks of a lane that memory does not hold, as ranges of sequence numbers, in order.

    Small however many there are: a lane of a million calls is one range.
    """

    __slots__ = ("_ranges", "positions")

    def __init__(self) -> None:
        self._ranges: list[list[int]] = []
        self.positions = 0
        """Calls and items of chunks on disk."""

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((first, last) for first, last in self._ranges)

    def add(self, first: int, last: int, positions: int) -> None:
        """Blocks of calls `first` to `last`, after all others."""
        self.positions += positions
        if self._ranges and self._ranges[-1][1] + 1 >= first:
            self._ranges[-1][1] = last
            return
        self._ranges.append([first, last])
        if len(self._ranges) > _PIECES:
            self._join()

    def _join(self) -> None:
        """Make one range of the two that lie closest together."""
        pairs = zip(self._ranges, self._ranges[1:], strict=False)
        gaps = [(right[0] - left[1], index) for index, (left, right) in enumerate(pairs)]
        index = min(gaps)[1]
        self._ranges[index][1] = self._ranges.pop(index + 1)[1]

    def next(self) -> tuple[int, int]:
        """The first range: what is to be read next."""
        return self._ranges[0][0], self._ranges[0][1]

    def read(self, last: int, positions: int) -> None:
        """Blocks up to call `last` of the first range are in memory now, or are not there."""
        self.positions = max(self.positions - positions, 0)
        if last >= self._ranges[0][1]:
            self._ranges.pop(0)
        else:
            self._ranges[0][0] = last + 1
        if not self._ranges:
            self.positions = 0

    def removed(self, positions: int) -> None:
        """Some ended where they lay."""
        self.positions = max(self.positions - positions, 0)

    def overlap(self, first: int, last: int) -> list[tuple[int, int]]:
        """Parts of a range of calls that may be on disk."""
        return [
            (max(low, first), min(high, last))
            for low, high in self._ranges
            if low <= last and first <= high
        ]
