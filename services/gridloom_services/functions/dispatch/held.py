"""What memory holds: pools, lanes and blocks, and which lanes may have to read from the store."""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING

from gridloom_services.functions.dispatch.block import Span
from gridloom_services.functions.dispatch.estimate import Estimate
from gridloom_services.functions.dispatch.pool import PoolQueue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gridloom_services.functions.dispatch.block import Block
    from gridloom_services.functions.dispatch.lane import Lane, Recall
    from gridloom_services.functions.ranges import Ranges
    from gridloom_services.functions.store.rows import InputRow


_ESTIMATES = 10_000
"""Functions whose durations are remembered. A lane keeps its own while it lives."""


class Held:
    """The calls that are in memory, by block, and where each lane's work waits."""

    def __init__(self) -> None:
        self.pools: dict[str, PoolQueue] = {}
        self.blocks: dict[int, Block] = {}
        """Those with positions in a queue or a lease, by stored id."""
        self.bytes = 0
        """Of all arguments in memory."""
        self.hungry: set[Lane] = set()
        """Lanes that may have to read from the store."""
        self.parked: dict[int, Ranges] = {}
        """After a restart: positions that wait outside memory while the rest of their block does
        not, by block."""
        self.dirty: set[PoolQueue] = set()
        """Pools that something has changed for since they were pumped."""
        self._estimates: dict[bytes, Estimate] = {}
        self._timers: list[tuple[float, int, Lane, Recall]] = []
        self._order = count()

    def pool(self, pool_id: str) -> PoolQueue:
        """The queue of a pool, made when first asked for."""
        queue = self.pools.get(pool_id)
        if queue is None:
            queue = self.pools[pool_id] = PoolQueue(pool_id)
        return queue

    def estimate(self, function: bytes) -> Estimate:
        """What is known of a function's duration. Those that were not asked for lately go."""
        found = self._estimates.pop(function, None) or Estimate()
        self._estimates[function] = found
        while len(self._estimates) > _ESTIMATES:
            self._estimates.pop(next(iter(self._estimates)))
        return found

    def add(self, block: Block) -> None:
        """New calls, or calls read from the store: all their unfinished positions wait now."""
        parked = self.parked.pop(block.id, None)
        for start, stop in block.unfinished():
            for first, last in [(start, stop)] if parked is None else parked.gaps(start, stop):
                self.activate(block, last - first)
                block.lane.append(Span(block, first, last))
        self.enter(block.lane)

    def add_recalled(self, block: Block, recall: Recall, inputs: Sequence[InputRow] = ()) -> None:
        """A call that was read from the store because its turn had come."""
        block = self.blocks.get(block.id, block)
        for start, stop in block.unfinished(recall.start, recall.stop):
            self.activate(block, stop - start)
            span = Span(block, start, stop, recall.isolated, recall.attempts, inputs)
            block.lane.enqueue_ahead(span)
        self.enter(block.lane)

    def enter(self, lane: Lane) -> None:
        """The lane may have something to run, or to read."""
        pool = self.pool(lane.spec.pool_id)
        pool.lanes.add(lane)
        if lane.dispatchable:
            pool.enter(lane)
            self.dirty.add(pool)
        if lane.spill or lane.recalls:
            self.hungry.add(lane)

    def forget(self, lane: Lane) -> None:
        """Nothing unfinished is left of a lane."""
        pool = self.pool(lane.spec.pool_id)
        pool.leave(lane)
        pool.lanes.discard(lane)
        self.hungry.discard(lane)

    def recall(self, lane: Lane, recall: Recall) -> None:
        """A stored call's turn has come: it is to be read."""
        lane.recalls.append(recall)
        self.enter(lane)

    def recall_later(self, lane: Lane, recall: Recall, at: float) -> None:
        """The same at a point in time."""
        lane.waiting += 1
        self.pool(lane.spec.pool_id).lanes.add(lane)
        heapq.heappush(self._timers, (at, next(self._order), lane, recall))

    def tick(self, now: float) -> float | None:
        """Let back-offs that are over end. Returns when the next one ends."""
        while self._timers and self._timers[0][0] <= now:
            _, _, lane, recall = heapq.heappop(self._timers)
            lane.waiting -= 1
            self.recall(lane, recall)
        return self._timers[0][0] if self._timers else None

    def take_timers(self, lane: Lane) -> list[tuple[float, Recall]]:
        """Take out what of a lane waits for a back-off, with the time of its end."""
        taken = [(at, recall) for at, _, owner, recall in self._timers if owner is lane]
        if taken:
            self._timers = [entry for entry in self._timers if entry[2] is not lane]
            heapq.heapify(self._timers)
            lane.waiting -= len(taken)
        return taken

    def activate(self, block: Block, positions: int) -> None:
        """Positions of a block are in memory from now on."""
        if not block.active:
            self.blocks[block.id] = block
            block.lane.hold(block)
            self.bytes += block.bytes
        block.active += positions

    def deactivate(self, block: Block, positions: int) -> None:
        """Positions of a block have left memory: finished, or waiting outside it."""
        block.active -= positions
        if block.active:
            return
        del self.blocks[block.id]
        block.lane.release(block)
        self.bytes -= block.bytes
        if block.lane.spill:
            self.hungry.add(block.lane)
