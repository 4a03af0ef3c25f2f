"""How long a function's items take: what the size of a batch follows."""

from __future__ import annotations

_WEIGHT = 0.25
"""Of the newest batch in the moving mean."""


class Estimate:
    """Moving mean of the time that one item of a function takes; and how its items ended."""

    __slots__ = ("failed", "item_us", "succeeded")

    def __init__(self) -> None:
        self.succeeded = 0
        self.failed = 0
        self.item_us: float | None = None
        """None until the first answer: then one call at a time is the careful choice."""

    def observe(self, items: int, elapsed_us: float) -> None:
        """Take in a measured answer."""
        if items <= 0:
            return
        measured = max(elapsed_us / items, 0.1)
        if self.item_us is None:
            self.item_us = measured
        else:
            self.item_us += _WEIGHT * (measured - self.item_us)
