"""Calls that wait for what other calls return."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gridloom.values import dataclass

from gridloom_services.functions.call import NO_ATTEMPTS, split_stored_id
from gridloom_services.functions.dispatch import Recall

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gridloom_services.functions.dispatch import Lane


@dataclass(slots=True)
class Waiting:
    """A call that waits. `missing`: those of its upstream calls that have not ended.

    `recalls`: how it is read when it need not wait any more: as a whole, but for positions that
    were run before a restart.
    """

    lane: Lane
    size: int
    upstreams: tuple[int, ...]
    missing: set[int]
    recalls: list[Recall]


def waiting_for(
    lane: Lane, block_id: int, size: int, upstreams: tuple[int, ...], *, chunked: bool
) -> Waiting:
    """A call of a lane that waits for others, none of which is known to have ended."""
    sequence = split_stored_id(block_id)[1]
    recall = Recall(block_id, 0, size, NO_ATTEMPTS, sequence, chunked)
    return Waiting(lane, size, upstreams, set(upstreams), [recall])


class Dependencies:
    """Who waits for whom, by stored ids; the calls themselves are in the store.

    A result that anybody unfinished needs is *pinned*: its client's confirmation does not remove
    it.
    """

    def __init__(self) -> None:
        self.waiting: dict[int, Waiting] = {}
        self.pins: Counter[int] = Counter()
        self._waiters: dict[int, list[int]] = {}
        self._needs: dict[int, tuple[int, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiters)

    def add(self, block_id: int, waiting: Waiting) -> None:
        """A call that needs others; where those stand is not known yet."""
        self.waiting[block_id] = waiting
        self._needs[block_id] = waiting.upstreams
        self.pins.update(set(waiting.upstreams))
        waiting.lane.waiting += 1

    def needs(self, block_id: int) -> tuple[int, ...]:
        """The calls that an unfinished call needed, in the order sent."""
        return self._needs.get(block_id, ())

    def await_call(self, block_id: int, upstream: int) -> None:
        """An upstream call has not ended: its end will be told by `ended`."""
        self._waiters.setdefault(upstream, []).append(block_id)

    def is_there(self, block_id: int, upstream: int) -> bool:
        """An upstream call has ended well. True: it was the last one missing."""
        waiting = self.waiting.get(block_id)
        if waiting is None:
            return False
        waiting.missing.discard(upstream)
        return not waiting.missing

    def release(self, block_id: int) -> Waiting | None:
        """The call need not wait any more: all is there, or it will never be."""
        waiting = self.waiting.pop(block_id, None)
        if waiting is not None:
            waiting.lane.waiting -= 1
        return waiting

    def ended(self, first: int, count: int) -> Iterable[tuple[int, list[int]]]:
        """Of calls that have just ended: each that is waited for, and by whom."""
        if count > len(self._waiters):
            calls = [call for call in self._waiters if first <= call < first + count]
        else:
            calls = [call for call in range(first, first + count) if call in self._waiters]
        return [(call, self._waiters.pop(call)) for call in calls]

    def over(self, block_id: int) -> list[int]:
        """A call that needed others has ended. Returns the results that nobody needs any more."""
        unpinned = []
        for upstream in set(self._needs.pop(block_id, ())):
            self.pins[upstream] -= 1
            if not self.pins[upstream]:
                del self.pins[upstream]
                unpinned.append(upstream)
        return unpinned

    def of_lane(self, lane: Lane, first: int, count: int) -> list[int]:
        """Calls of a lane, out of a range of stored ids, that wait."""
        return [
            block_id
            for block_id, waiting in self.waiting.items()
            if waiting.lane is lane and first <= block_id < first + count
        ]
