"""How many items of a map go into one call: as many as keep a worker busy for a short while.

What an item takes is not known at first, so the first chunks are single items; the next ones grow
or stay small with what the service says of the function, or, as long as it says nothing, with how
soon the first ones come back. Pure: times come as arguments.
"""

from __future__ import annotations

import math

from gridloom.values import dataclass

# A chunk should keep its worker busy for this long: long beside the way there and back, short
# beside the patience of a person, and of the other workers at the end.
TARGET_S = 0.1
# From one look at the clock to the next a chunk grows by this factor at most.
GROWTH = 16
MOST_ITEMS = 16_384
MOST_BYTES = 256 * 1024
# Chunks a worker, at the least, where the number of items is known: the last ones even out.
ROUNDS = 4


@dataclass
class Sent:
    """A chunk on its way."""

    items: int
    # Items of the same map that were on their way before it.
    ahead: int
    at: float


class ChunkSizes:
    """Chooses the size of each chunk of one map.

    `item_s` is what is known of the function from earlier maps, if anything; `total` the number of
    items where it is known; `workers` how many items are expected to run at once.
    """

    def __init__(
        self,
        workers: int,
        *,
        total: int | None = None,
        item_s: float | None = None,
        fixed: int | None = None,
    ) -> None:
        self._workers = max(workers, 1)
        self._total = total
        self._fixed = fixed
        self.item_s = item_s
        self._told_s: float | None = None
        self._has_measured = False
        self._largest_measured = 1 if item_s is None else MOST_ITEMS
        self._item_bytes = 1.0

    @property
    def settled(self) -> bool:
        """Whether the size is what it should be, rather than what caution allows yet."""
        if self._fixed is not None:
            return True
        return self._has_measured and self._wanted() <= self._largest_measured * GROWTH

    def next(self) -> int:
        """Items for the next chunk, at least one."""
        if self._fixed is not None:
            return self._fixed
        if self.item_s is None:
            return 1
        return max(1, min(self._wanted(), self._largest_measured * GROWTH))

    def _wanted(self) -> int:
        wanted = MOST_ITEMS
        if self.item_s:
            wanted = min(wanted, int(TARGET_S / self.item_s))
        if self._total is not None:
            wanted = min(wanted, math.ceil(self._total / (ROUNDS * self._workers)))
        return min(wanted, int(MOST_BYTES / self._item_bytes))

    def sent(self, items: int, size_bytes: int) -> None:
        """A chunk of this many items took this many bytes."""
        self._item_bytes = max(self._item_bytes, size_bytes / items)

    def told(self, item_s: float) -> None:
        """The service has measured the function: that counts above what is seen from here."""
        if item_s != self._told_s:
            self._told_s = self.item_s = max(item_s, 1e-9)

    def measured(self, chunk: Sent, now: float) -> None:
        """A chunk came back whole.

        What it took, the time on the way included, bounds what an item takes. Where the service
        has said nothing, what waited before it is left out, and a lower estimate is believed at
        once, a higher one by half: short functions seem longer than they are in small chunks.
        """
        self._has_measured = True
        self._largest_measured = max(self._largest_measured, chunk.items)
        took = max(now - chunk.at, 1e-9)
        if self._told_s is not None:
            self.item_s = min(self._told_s, took / chunk.items)
            return
        seen = took / (chunk.ahead / self._workers + chunk.items)
        self.item_s = seen if self.item_s is None else min(seen, (self.item_s + seen) / 2)
