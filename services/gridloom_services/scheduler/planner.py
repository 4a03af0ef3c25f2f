"""When the engine plans, and what it is told: the one door to it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gridloom_services.scheduler.engine import EngineError, events
from gridloom_services.scheduler.job import Promise
from gridloom_services.scheduler.runtime.base import Assignment

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom_services.scheduler.engine import Engine
    from gridloom_services.scheduler.engine.decisions import Decisions
    from gridloom_services.scheduler.journal import Journal

# Starts that one plan may decide: the loop is not kept from its other work for longer.
STARTS_A_PLAN = 256
# A cycle that takes longer is followed by a pause of the same length.
CHEAP_PLAN_S = 0.005


class Planner:
    """Tells the engine what happens and asks it to plan where that may matter.

    Promises are kept in the store, so that a restart keeps them.
    """

    def __init__(
        self, engine: Engine, journal: Journal, stopwatch: Callable[[], float] = time.perf_counter
    ) -> None:
        self.engine = engine
        self._journal = journal
        self._stopwatch = stopwatch
        self._is_stale = True
        self._not_before_s = 0.0
        self._promised: set[tuple[str, int]] = set()
        self.last_plan_s = 0.0

    def apply(self, event: events.Event, *, foreseen: bool = False) -> None:
        """Tell the engine. What its own plan foresaw is no reason to plan again."""
        self.engine.apply(event)
        self._is_stale = self._is_stale or not foreseen
        if self._promised:
            self._drop_void(event)

    def _drop_void(self, event: events.Event) -> None:
        """Take promises out of the store that this event has used up or made void."""
        match event:
            case events.Started() | events.PromiseDropped():
                void = {(event.job, event.element)}
            case events.JobWithdrawn():
                void = {key for key in self._promised if key[0] == event.job}
            case events.ElementsWithdrawn():
                void = {key for key in self._promised if key[0] == event.job}
                void = {key for key in void if key[1] in event.elements}
            case _:
                return
        for key in void & self._promised:
            self._promised.discard(key)
            self._journal.put_promise(key, None)

    def promise(self, event: events.Promised) -> None:
        """Tell the engine of a promise, and keep it."""
        self.engine.apply(event)
        key = (event.job, event.element)
        self._promised.add(key)
        placement = tuple(Assignment(a.role, a.index, a.node) for a in event.placement)
        self._journal.put_promise(key, Promise(*key, event.start, placement))

    def keep_promise(self, promise: Promise) -> None:
        """Tell the engine of a promise that the store has; one that is void goes."""
        key = (promise.job_id, promise.element)
        placement = tuple(events.Assignment(a.role, a.index, a.node) for a in promise.placement)
        try:
            self.engine.apply(events.Promised(*key, promise.start_s, placement))
        except EngineError:
            self._journal.put_promise(key, None)
        else:
            self._promised.add(key)

    def pause_s(self) -> float | None:
        """Return how long to wait before planning; None: there is nothing to plan."""
        if not self._is_stale:
            return None
        return max(self._not_before_s - self._stopwatch(), 0.0)

    def plan(self, now_s: int) -> Decisions:
        """Ask the engine. What is decided is not true before it was applied."""
        began = self._stopwatch()
        self._is_stale = False
        decisions = self.engine.plan(now_s, STARTS_A_PLAN)
        self._is_stale = decisions.truncated
        ended = self._stopwatch()
        self.last_plan_s = ended - began
        if self.last_plan_s > CHEAP_PLAN_S:
            self._not_before_s = ended + self.last_plan_s
        return decisions
