"""Room: everything that one plan takes from as it goes on, and what it has to leave.

The profile of the nodes, the promises that stand, the quotas and the failures so far, kept in step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom_services.scheduler.engine.allocations import spread_of
from gridloom_services.scheduler.engine.budget import Budget
from gridloom_services.scheduler.engine.columns import FAR
from gridloom_services.scheduler.engine.earliest import Request, earliest
from gridloom_services.scheduler.engine.failures import Failures
from gridloom_services.scheduler.engine.fit import place, role_place
from gridloom_services.scheduler.engine.profile import Profile
from gridloom_services.scheduler.engine.promises import Pledge, Pledges
from gridloom_services.scheduler.engine.reach import NEVER, fits_whole

if TYPE_CHECKING:
    from gridloom_services.scheduler.engine.allocations import Pick
    from gridloom_services.scheduler.engine.columns import Ints
    from gridloom_services.scheduler.engine.reach import Reaches
    from gridloom_services.scheduler.engine.state import Held, State


class Room:
    """What is left at `now`; `start` and `promise` take from it, the state stays as it is."""

    def __init__(self, state: State, reaches: Reaches, now: int) -> None:
        self.now = now
        self._state = state
        self._reaches = reaches
        self.profile = Profile(state.nodes, state.entries, now)
        self.pledges = Pledges(self.profile)
        self.budget = Budget(state, now)
        self.failures = Failures(state.classes, reaches)

    def keep(self, row: int, held: Held) -> Pledge | None:
        """A promise as it was made, due now where it is late; None where it cannot be kept."""
        state = self._state
        shape = state.shape(row)
        allowed = state.nodes.mask(shape.selector)
        if not all(allowed[node] for node, _, _ in held.picks):
            return None
        start = max(held.start, self.now)
        pledge = self._pledge(row, held.element, start, held.picks)
        if not self.pledges.fits(pledge.spread, start, pledge.end, pledge.base):
            return None
        if not self.budget.keeps(state.jobs.queue[row], shape.total, start, pledge.end):
            return None
        self._stand(pledge)
        return pledge

    def improve(self, pledge: Pledge) -> Pledge | None:
        """The same promise earlier, or None where there is no earlier room."""
        row = pledge.row
        queue, total = self._state.jobs.queue[row], self._state.shape(row).total
        if not self.budget.allows_promise(queue, total, but=pledge):
            return None
        others = self.pledges.others(pledge)
        found = earliest(self.profile, others, self._request(row), self.now, pledge.start)
        if found is None:
            return None
        self.drop(pledge)
        better = self._pledge(row, pledge.element, *found)
        self._stand(better)
        return better

    def promise(self, row: int, element: int) -> Pledge | None:
        """A promise of the earliest start after now; None where there is none to be made."""
        queue, klass = self._state.jobs.queue[row], self._state.jobs.klass[row]
        total = self._state.shape(row).total
        if self._reaches.of(klass) == NEVER or not self.budget.allows_promise(queue, total):
            return None
        found = earliest(self.profile, list(self.pledges), self._request(row), self.now + 1)
        if found is None:
            return None
        pledge = self._pledge(row, element, *found)
        self._stand(pledge)
        return pledge

    def focus(self, rows: Ints) -> None:
        """Only these waiting rows will have a turn; none that fails will be promised a start."""
        jobs = self._state.jobs
        self.failures.focus(jobs.array("klass")[rows], jobs.ends(rows, self.now))

    def hopeful(self, rows: Ints) -> Ints:
        """Those of these waiting rows for which it is not known that they cannot start now."""
        jobs, failures = self._state.jobs, self.failures
        failures.rule_out(self.profile.free, -FAR)
        avail, since = self.pledges.avail(FAR)
        if since > -FAR:
            failures.rule_out(avail, since)
        return rows[failures.ends[jobs.array("klass")[rows]] > jobs.ends(rows, self.now)]

    def fails(self, row: int) -> bool:
        """Whether it is known that a row cannot start now."""
        jobs = self._state.jobs
        return self.failures.stops(jobs.klass[row], jobs.end(row, self.now))

    def affordable(self, rows: Ints) -> Ints:
        """Those of these waiting rows that their quota lets start now, promises aside."""
        return rows[self.budget.affords(rows)]

    def drop(self, pledge: Pledge) -> None:
        """A promise stands no longer."""
        self.pledges.remove(pledge)
        self.budget.release(self._state.jobs.queue[pledge.row], pledge)

    def fits_now(self, row: int) -> bool:
        """Whether a row's gang would fit if nothing were promised."""
        klass = self._state.jobs.klass[row]
        shape, allowed = self._state.classes.shape(klass), self._reaches.allowed(klass)
        # The order of nodes costs more than the scan, and matters to several roles only.
        pack = self.profile.pack if len(shape.roles) > 1 else self.profile.free[0]
        return fits_whole(self.profile.free, shape, allowed, pack)

    def allows(self, row: int) -> bool:
        """Whether its quota lets a row start (a growth: one replica) now."""
        jobs = self._state.jobs
        total = self._state.shape(row).total
        return self.budget.allows(jobs.queue[row], total, jobs.end(row, self.now))

    def find(self, row: int, near: list[int] | None = None) -> list[Pick] | None:
        """Where a row's gang may start now (a growth: one replica, `near` nodes first), or None."""
        jobs = self._state.jobs
        klass, end = jobs.klass[row], jobs.end(row, self.now)
        if self.failures.stops(klass, end) or self._reaches.of(klass) == NEVER:
            return None
        shape = self._state.classes.shape(klass)
        avail, since = self.pledges.avail(end)
        allowed = self._reaches.allowed(klass)
        if near:
            need = shape.roles[0].need
            found = role_place(avail, need, 1, allowed, self.profile.pack, near)
            picks = None if found is None else [(node, 0, count) for node, count in found]
        else:
            picks = place(avail, shape, allowed, self.profile.pack)
        if picks is None:
            self.failures.add(klass, since)
        return picks

    def start(self, row: int, picks: list[Pick]) -> None:
        """A row's gang (a growth: one replica) starts now on these nodes."""
        jobs = self._state.jobs
        shape, end = self._state.shape(row), jobs.end(row, self.now)
        self.pledges.take(spread_of(picks, shape), end)
        self.budget.take(jobs.queue[row], shape.total, end)

    def _stand(self, pledge: Pledge) -> None:
        self.pledges.add(pledge)
        total = self._state.shape(pledge.row).total
        self.budget.promise(self._state.jobs.queue[pledge.row], total, pledge)

    def _pledge(self, row: int, element: int, start: int, picks: list[Pick]) -> Pledge:
        return Pledge(
            row=row,
            element=element,
            start=start,
            end=start + self._state.jobs.limit[row],
            picks=picks,
            spread=spread_of(picks, self._state.shape(row)),
            base=self.profile.free_at(start),
        )

    def _request(self, row: int) -> Request:
        klass = self._state.jobs.klass[row]
        return Request(
            self._state.classes.shape(klass),
            self._reaches.allowed(klass),
            self._state.jobs.limit[row],
        )
