"""A pool as dispatch sees it: its workers, and whose turn it is."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from gridloom_services.functions.dispatch.worker import CONTENDED_SLICE_US, SLICE_US

if TYPE_CHECKING:
    from gridloom_services.functions.dispatch.lane import Lane
    from gridloom_services.functions.dispatch.worker import Worker


_CONTENDED_S = 1.0
"""A pool that served two lanes is taken to be shared for so long."""


class PoolQueue:
    """The lanes that wait for a pool's workers.

    Sessions take turns, and each session's lanes take turns with each other: one slice each. So
    one client's flood, or one huge map, delays others by a slice and never by its length.
    """

    __slots__ = (
        "_contended_until",
        "_lanes_of",
        "_last_served",
        "_set_aside_for",
        "_turns",
        "id",
        "lanes",
        "slice_us",
        "workers",
    )

    def __init__(self, pool_id: str) -> None:
        self.id = pool_id
        self.workers: dict[str, Worker] = {}
        self.lanes: set[Lane] = set()
        """All lanes with unfinished calls for this pool."""
        self._turns: deque[int] = deque()
        self._lanes_of: dict[int, deque[Lane]] = {}
        self._set_aside_for: Lane | None = None
        self._last_served: Lane | None = None
        self._contended_until = 0.0
        self.slice_us = SLICE_US
        """How much work a batch holds at present."""

    def enter(self, lane: Lane) -> None:
        """The lane may have something to send: give it turns. Entering twice is entering once."""
        if lane.in_turn:
            return
        lane.in_turn = True
        lanes = self._lanes_of.get(lane.session)
        if lanes is None:
            lanes = self._lanes_of[lane.session] = deque()
            self._turns.append(lane.session)
        lanes.append(lane)

    def leave(self, lane: Lane) -> None:
        """Take a lane out of the turns."""
        if not lane.in_turn:
            return
        lane.in_turn = False
        lanes = self._lanes_of[lane.session]
        lanes.remove(lane)
        if not lanes:
            del self._lanes_of[lane.session]
            self._turns.remove(lane.session)

    def next(self) -> Lane | None:
        """The lane whose turn it is; it has something to send. None: nothing waits."""
        while self._turns:
            lane = self._lanes_of[self._turns[0]][0]
            if lane.dispatchable:
                return lane
            self.leave(lane)
        return None

    def begin_turns(self, now: float) -> None:
        """Batches are small while lanes have taken turns lately."""
        self.slice_us = CONTENDED_SLICE_US if now < self._contended_until else SLICE_US

    def served(self, lane: Lane, now: float) -> None:
        """The lane has had its turn."""
        if lane is not self._last_served:
            if self._last_served is not None:
                self._contended_until = now + _CONTENDED_S
                self.slice_us = CONTENDED_SLICE_US
            self._last_served = lane
        self._turns.rotate(-1)
        self._lanes_of[lane.session].rotate(-1)

    def passed_over(self, lanes: list[Lane]) -> None:
        """These left the turns because no worker suited them: they come first the next time."""
        for lane in reversed(lanes):
            self.enter(lane)
            own = self._lanes_of[lane.session]
            own.rotate(1)
            self._turns.remove(lane.session)
            self._turns.appendleft(lane.session)

    def waits(self) -> bool:
        """Whether anything waits for a worker."""
        return self.next() is not None

    @property
    def open_to_more(self) -> bool:
        """Whether any worker could be given anything."""
        return any(worker.open_to_more(self.slice_us) for worker in self.workers.values())

    def pick(self, lane: Lane) -> tuple[Worker, int] | None:
        """The least loaded worker that should be given some of the lane, and how much.

        For something isolated that finds no idle worker, one is set aside: it gets nothing more
        until it is empty.
        """
        best: Worker | None = None
        best_budget = 0
        sharers = len(self.workers)
        for worker in self.workers.values():
            if best is not None and worker.load >= best.load:
                continue
            budget = worker.budget(lane, sharers, self.slice_us)
            if budget:
                best, best_budget = worker, budget
        if best is not None:
            return best, best_budget
        if lane.next_isolated:
            self._set_aside(lane)
        return None

    def _set_aside(self, lane: Lane) -> None:
        """Reserve the least loaded worker, unless one is reserved."""
        workers = [worker for worker in self.workers.values() if not worker.draining]
        if workers and not any(worker.reserved for worker in workers):
            min(workers, key=lambda worker: worker.load).reserved = True
            self._set_aside_for = lane

    def release_reserved(self) -> None:
        """When nothing isolated waits any more, no worker is kept for it."""
        lane = self._set_aside_for
        if lane is None or (lane.next_isolated and lane.in_turn):
            return
        self._set_aside_for = None
        for worker in self.workers.values():
            worker.reserved = False

    @property
    def demand(self) -> int:
        """Positions that wait for workers and could run if there were any, wherever they are."""
        total = 0
        for lane in self.lanes:
            if lane.function is not None:
                room = lane.room
                total += lane.demand if room is None else min(lane.demand, room)
        return total

    @property
    def running(self) -> int:
        """Positions that workers hold."""
        return sum(lane.running for lane in self.lanes)
