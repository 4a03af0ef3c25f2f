"""Calls as they are kept: blocks of consecutive calls, and spans that are parts of a block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.values import dataclass

from gridloom_services.functions.call import NO_ATTEMPTS, stored_id
from gridloom_services.functions.ranges import Ranges

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gridloom_services.functions.call import Attempts
    from gridloom_services.functions.dispatch.lane import Lane
    from gridloom_services.functions.store.rows import InputRow


class Block:
    """Consecutive calls of one lane, one item each; or one call that is a chunk of `items` items.

    A *position* counts what can run by itself: the calls of a plain block, the items of a chunk.
    Each position is finished once; `finish` tells which were not finished before.
    """

    __slots__ = (
        "accepted_at",
        "active",
        "arguments",
        "bytes",
        "cancelled",
        "done",
        "first",
        "items",
        "lane",
        "left",
        "needs",
        "offset",
        "size",
    )

    def __init__(
        self, lane: Lane, first: int, arguments: list[bytes], *, items: int = 0, offset: int = 0
    ) -> None:
        self.lane = lane
        self.first = first
        self.arguments = arguments
        self.items = items
        self.offset = offset
        self.size = items or len(arguments)
        self.bytes = sum(map(len, arguments))
        self.accepted_at = 0.0
        """Seconds since 1970."""
        self.left = self.size
        """Positions that are not finished..."""
        self.active = 0
        """... and of those, how many memory has in a queue or a lease."""
        self.needs: tuple[int, ...] = ()
        """Stored ids of the calls that it waits for, in the order sent."""
        self.done: Ranges | None = None
        """What is finished, where that is some and not all."""
        self.cancelled: Ranges | None = None
        """What must not be run again."""

    @property
    def id(self) -> int:
        """Under which the store keeps it."""
        return stored_id(self.lane.session, self.first)

    @property
    def calls(self) -> int:
        """How many sequence numbers it covers."""
        return 1 if self.items else self.size

    def sequence(self, position: int) -> int:
        """Sequence number of the call that a position belongs to."""
        return self.first if self.items else self.first + position

    def item(self, position: int) -> int:
        """Number of the item within its call."""
        return position if self.items else 0

    def restore(self, done: Ranges) -> None:
        """Take over what was finished before a restart."""
        self.done = done
        self.left = self.size - done.count

    def unfinished(self, start: int = 0, stop: int | None = None) -> list[tuple[int, int]]:
        """Positions of a range that have no result yet."""
        stop = self.size if stop is None else stop
        if self.done is not None:
            return self.done.gaps(start, stop)
        return [(start, stop)] if start < stop else []

    def finish(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Mark positions as finished. Returns those that were not yet."""
        if stop - start == self.left == self.size:
            self.left = 0
            self.done = Ranges(((start, stop),))
            return [(start, stop)]
        if self.done is None:
            self.done = Ranges()
        fresh = self.done.gaps(start, stop)
        for first, last in fresh:
            self.done.add(first, last)
            self.left -= last - first
        return fresh

    def cancel(self, start: int, stop: int) -> None:
        """Positions that are not to be run again, whatever becomes of them now."""
        if self.cancelled is None:
            self.cancelled = Ranges()
        self.cancelled.add(start, stop)

    def positions(self, first: int, count: int) -> tuple[int, int]:
        """Positions that belong to a range of sequence numbers."""
        if self.items:
            return (0, self.size) if first <= self.first < first + count else (0, 0)
        return max(first - self.first, 0), min(first + count - self.first, self.size)


@dataclass(slots=True)
class Span:
    """Positions of a block that wait or run together.

    `isolated`: one position that was in a worker which died; it runs alone. `inputs` holds, for a
    call that waited for others, what those returned (filled in when it is about to run).
    """

    block: Block
    start: int
    stop: int
    isolated: bool = False
    attempts: Attempts = NO_ATTEMPTS
    inputs: Sequence[InputRow] = ()

    @property
    def size(self) -> int:
        """Positions in it."""
        return self.stop - self.start

    @property
    def units(self) -> int:
        """What a worker counts: each call, or one part of a chunk."""
        return 1 if self.block.items else self.stop - self.start

    def take(self, size: int) -> Span:
        """Cut off the first positions; this span keeps the rest."""
        head = Span(
            self.block, self.start, self.start + size, self.isolated, self.attempts, self.inputs
        )
        self.start += size
        return head

    def part(self, start: int, stop: int) -> Span:
        """The same for some of its positions."""
        return Span(self.block, start, stop, self.isolated, self.attempts, self.inputs)

    def join(self, other: Span) -> bool:
        """Take in a span that ends where this one begins, or the other way; False: it is apart."""
        if other.block is not self.block or self.isolated or other.isolated:
            return False
        if other.attempts != self.attempts or other.inputs is not self.inputs:
            return False
        if other.stop == self.start:
            self.start = other.start
        elif self.stop == other.start:
            self.stop = other.stop
        else:
            return False
        return True

    def without(self, start: int, stop: int) -> Iterator[Span]:
        """What remains when positions are taken out."""
        if self.start < min(start, self.stop):
            yield self.part(self.start, min(start, self.stop))
        if max(stop, self.start) < self.stop:
            yield self.part(max(stop, self.start), self.stop)
