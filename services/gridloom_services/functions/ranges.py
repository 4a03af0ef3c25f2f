"""Sets of whole numbers kept as disjoint ranges: which calls of a block, or items of a chunk."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Ranges:
    """A set of whole numbers; small while its members lie together. Half-open ranges throughout."""

    __slots__ = ("_edges",)

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._edges: list[int] = []
        for start, stop in ranges:
            self.add(start, stop)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._edges[::2], self._edges[1::2], strict=True)

    def __bool__(self) -> bool:
        return bool(self._edges)

    def __contains__(self, number: int) -> bool:
        return bisect_right(self._edges, number) % 2 == 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and self._edges == other._edges

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Ranges({list(self)})"

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return sum(self._edges[1::2]) - sum(self._edges[::2])

    def add(self, start: int, stop: int) -> None:
        """Add all numbers of a range; what was there already stays."""
        if start >= stop:
            return
        edges = self._edges
        if edges and edges[-1] == start:
            edges[-1] = stop
            return
        low, high = bisect_left(edges, start), bisect_right(edges, stop)
        left = [start] if low % 2 == 0 else []
        right = [stop] if high % 2 == 0 else []
        edges[low:high] = left + right

    def remove(self, start: int, stop: int) -> None:
        """Take out all numbers of a range."""
        if start >= stop:
            return
        edges = self._edges
        low, high = bisect_left(edges, start), bisect_right(edges, stop)
        left = [start] if low % 2 == 1 else []
        right = [stop] if high % 2 == 1 else []
        edges[low:high] = left + right

    def overlap(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The parts of a range that are members."""
        edges = self._edges
        low = max(bisect_right(edges, start) - 1, 0) & ~1
        found = []
        for index in range(low, len(edges), 2):
            if edges[index] >= stop:
                break
            first, last = max(edges[index], start), min(edges[index + 1], stop)
            if first < last:
                found.append((first, last))
        return found

    def gaps(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The parts of a range that are not members."""
        found = []
        for first, last in self.overlap(start, stop):
            if start < first:
                found.append((start, first))
            start = last
        if start < stop:
            found.append((start, stop))
        return found

    def pack(self) -> bytes:
        """Bytes that `unpack` reads; numbers below 2**32."""
        return b"".join(edge.to_bytes(4, "little") for edge in self._edges)

    @classmethod
    def unpack(cls, data: bytes) -> Ranges:
        """The set that was packed."""
        ranges = cls()
        ranges._edges = [
            int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)
        ]
        return ranges
