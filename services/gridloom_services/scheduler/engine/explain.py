"""Explanations: why a job waits, behind what, and how many wait for what others hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gridloom_services.scheduler.engine.budget import Budget
from gridloom_services.scheduler.engine.decisions import Explanation, Reason
from gridloom_services.scheduler.engine.jobs import GROWTH, JOB
from gridloom_services.scheduler.engine.misfit import shape_misfit
from gridloom_services.scheduler.engine.reach import NEVER, PLAIN
from gridloom_services.scheduler.engine.room import Room

if TYPE_CHECKING:
    from collections.abc import Collection

    from gridloom_services.scheduler.engine.columns import Mask, Need
    from gridloom_services.scheduler.engine.reach import Reaches
    from gridloom_services.scheduler.engine.state import State

_MOST_AHEAD = 100

Why = tuple[Reason, str, int, int]
"""A reason, the resource that is short, what is asked of it and what there is."""


class Explainer:
    """Answers about jobs that wait. Reads the state and never changes it."""

    def __init__(self, state: State, reaches: Reaches) -> None:
        self._state = state
        self._reaches = reaches

    def explain(self, job: str, now: int) -> Explanation:
        """Why the job's next element has not started; else why one that runs does not grow."""
        jobs = self._state.jobs
        row = jobs.row(job)
        if not jobs.pending[row]:
            growing = self._growth(row)
            if growing is None:
                return Explanation(Reason.NONE)
            row = growing
        reason, resource, asked, available = self._why(row, now)
        ahead, ahead_count = self._ahead(row)
        held = self._state.promises.get(row)
        return Explanation(
            reason=reason,
            resource=resource,
            asked=asked,
            available=available,
            ahead=tuple(jobs.ids[other] for other in ahead),
            ahead_count=ahead_count,
            promised_start=None if held is None else held.start,
            spares_devices=self._reaches.of(jobs.klass[row]) == PLAIN,
        )

    def _growth(self, row: int) -> int | None:
        """The oldest request for more replicas of what runs of a job."""
        jobs = self._state.jobs
        mine = [
            request
            for request, parent in jobs.parents.items()
            if parent.row == row and jobs.pending[request]
        ]
        return min(mine, key=lambda request: jobs.sequence[request], default=None)

    def waiting(self, apart: Collection[str]) -> tuple[int, frozenset[str]]:
        """How many jobs wait for resources that others hold, as far as is known.

        Jobs of `apart` are not among them: which of those wait is said by name.
        """
        jobs, queues = self._state.jobs, self._state.queues
        rows = np.flatnonzero(jobs.array("pending"))
        keep = (queues.array("closed") == 0)[jobs.array("queue")[rows]]
        most = jobs.array("max_parallel")[rows]
        keep &= (most == 0) | (jobs.array("running")[rows] < most)
        keep &= ~self._hopeless()[jobs.array("klass")[rows]]
        rows = rows[keep]
        rows = rows[Budget(self._state, now=0).ever_affords(rows)]
        kinds = jobs.array("kind")[rows]
        named = {jobs.rows[job]: job for job in apart if job in jobs.rows}
        growing = {jobs.parents[row].row for row in rows[kinds == GROWTH].tolist()}
        left = rows[kinds == JOB]
        both = growing.intersection(left.tolist()) if growing else set()
        own = set(left[np.isin(left, list(named))].tolist()) if named else set()
        count = int(left.size) - len(own) + len(growing - named.keys() - both)
        return count, frozenset(named[row] for row in own | (growing & named.keys()))

    def _why(self, row: int, now: int) -> Why:
        state, jobs = self._state, self._state.jobs
        queue, klass = jobs.queue[row], jobs.klass[row]
        if state.queues.closed[queue]:
            return Reason.QUEUE_CLOSED, "", 0, 0
        most = jobs.max_parallel[row]
        if most and jobs.running[row] >= most:
            return Reason.ARRAY_LIMIT, "", most, jobs.running[row]
        if self._reaches.of(klass) == NEVER:
            misfit = shape_misfit(state.shape(row), state.nodes)
            if misfit is not None:
                return Reason.NODES_TOO_SMALL, misfit.resource, misfit.asked, misfit.largest
        room = Room(state, self._reaches, now)
        short = room.budget.lacks(queue, state.shape(row).total)
        if short is not None:
            asked = dict(state.shape(row).total)[short]
            left = max(0, room.budget.left(queue, short))
            is_projects = room.budget.lacks_only_in_project(queue, state.shape(row).total)
            reason = Reason.PROJECT_QUOTA if is_projects else Reason.QUEUE_QUOTA
            return reason, state.resources.names[short], asked, left
        return self._why_no_room(row, room)

    def _why_no_room(self, row: int, room: Room) -> Why:
        state = self._state
        allowed = self._reaches.allowed(state.jobs.klass[row])
        if not room.fits_now(row):
            return (Reason.RESOURCES, *self._shortest(row, room, allowed))
        for other in self._promised_before(row):
            room.keep(other, state.promises[other])
        if not room.allows(row) or room.find(row) is None:
            return (Reason.PRIORITY, *self._shortest(row, room, allowed))
        return Reason.NEXT_CYCLE, "", 0, 0

    def _promised_before(self, row: int) -> list[int]:
        jobs, promises = self._state.jobs, self._state.promises
        others = [r for r in promises if r != row and jobs.priority[r] >= jobs.priority[row]]
        return sorted(others, key=lambda r: (-jobs.priority[r], promises[r].start))

    def _shortest(self, row: int, room: Room, allowed: Mask) -> tuple[str, int, int]:
        """The resource that is scarcest beside what is asked: in all, else on the best node."""
        shape = self._state.shape(row)
        avail, _ = room.pledges.avail(self._state.jobs.end(row, room.now))
        names = self._state.resources.names
        have = {number: np.maximum(avail[number][allowed], 0) for number, _ in shape.total}
        in_all = _scarcest(shape.total, {n: int(amounts.sum()) for n, amounts in have.items()})
        if in_all is not None and in_all[1] > in_all[2]:
            return names[in_all[0]], in_all[1], in_all[2]
        largest = {number: int(amounts.max(initial=0)) for number, amounts in have.items()}
        short = [s for role in shape.roles if (s := _scarcest(role.need, largest)) is not None]
        worst = max(short, key=lambda s: s[1] / max(1, s[2]), default=None)
        if worst is not None and worst[1] > worst[2]:
            return names[worst[0]], worst[1], worst[2]
        return ("", 0, 0) if in_all is None else (names[in_all[0]], in_all[1], in_all[2])

    def _ahead(self, row: int) -> tuple[list[int], int]:
        """The first waiting jobs of the same queue that come before this one, and how many do."""
        jobs = self._state.jobs
        rows = np.flatnonzero(jobs.array("queue") == jobs.queue[row])
        rows = rows[(jobs.array("pending")[rows] > 0) & (jobs.array("kind")[rows] == JOB)]
        priority, sequence = jobs.array("priority")[rows], jobs.array("sequence")[rows]
        before = priority == jobs.priority[row]
        before &= sequence < jobs.sequence[row]
        before |= priority > jobs.priority[row]
        rows = rows[before]
        return jobs.first(rows, _MOST_AHEAD).tolist(), rows.size

    def _hopeless(self) -> Mask:
        """Classes that no set of usable nodes could hold."""
        classes, nodes = self._state.classes, self._state.nodes
        capacity = nodes.capacity.data[:, : nodes.size][:, nodes.usable()]
        need = classes.need.data[:, : classes.size]
        total = classes.total.data[:, : classes.size]
        largest = capacity.max(axis=1, initial=0)[:, None]
        hopeless: Mask = self._reaches.known_never()
        hopeless |= (need > largest).any(axis=0)
        hopeless |= (total > capacity.sum(axis=1)[:, None]).any(axis=0)
        return hopeless


def _scarcest(need: Need, available: dict[int, int]) -> tuple[int, int, int] | None:
    amounts = [(number, asked, available[number]) for number, asked in need]
    return max(amounts, key=lambda a: a[1] / max(1, a[2]), default=None)
