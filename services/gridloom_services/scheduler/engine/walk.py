"""The walk: waiting rows in the order of their turns, without those that cannot start.

One level of priority after the other, and by age within one. Where projects come to share a level,
their turns are this module's to find.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom_services.scheduler.engine.columns import Ints

_BLOCK = 256


class Walk:
    """Hands out rows one by one; `filter` throws out what has become hopeless further on."""

    def __init__(self, rows: Ints) -> None:
        self._rows = rows
        self._next = 0
        self._block: list[int] = []

    def next(self) -> int | None:
        """The next row, or None."""
        if not self._block:
            block = self._rows[self._next : self._next + _BLOCK]
            if not block.size:
                return None
            self._next += block.size
            self._block = block[::-1].tolist()
        return self._block.pop()

    @property
    def rows(self) -> Ints:
        """The rows still to come."""
        return self._rows[self._next - len(self._block) :]

    def filter(self, hopeful: Callable[[Ints], Ints]) -> None:
        """Keep only those rows still to come that `hopeful` returns, in the same order."""
        self._rows = hopeful(self.rows)
        self._next = 0
        self._block = []
