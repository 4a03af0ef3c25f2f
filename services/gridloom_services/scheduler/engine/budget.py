"""Quotas inside one plan: what running work, this plan's starts and promises leave of them.

A promise holds its queue's quota from its start on: work that would still run then may not take it.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gridloom_services.common.values import dataclass
from gridloom_services.scheduler.engine.columns import FAR

if TYPE_CHECKING:
    from gridloom_services.scheduler.engine.columns import Ints, Mask, Need
    from gridloom_services.scheduler.engine.promises import Pledge
    from gridloom_services.scheduler.engine.state import State


@dataclass(frozen=True, slots=True)
class _Claim:
    """A promise's part of its queue's quota; `then` is all that is held at its start, by number."""

    pledge: Pledge
    total: Need
    then: dict[int, int]


class Budget:
    """What each queue may still start, as this plan goes on."""

    def __init__(self, state: State, now: int) -> None:
        self._state = state
        self._now = now
        self._bounds = state.queues.bounds
        self._used: Ints = state.queues.used.data.copy()
        self._views = [memoryview(row) for row in self._used]
        self._claims: dict[int, list[_Claim]] = {}
        self._started: list[tuple[int, int, Need]] = []

    def lacks(self, queue: int, total: Need) -> int | None:
        """The resource, by number, of which the quota leaves less than `total` now; or None."""
        bounds = self._bounds[queue]
        if not bounds:
            return None
        asked = dict(total)
        for number, bound in bounds:
            amount = asked.get(number, 0)
            if amount and self._views[number][queue] + amount > bound:
                return number
        return None

    def left(self, queue: int, number: int) -> int:
        """What the quota leaves of a resource that it bounds."""
        return dict(self._bounds[queue])[number] - self._views[number][queue]

    def allows(self, queue: int, total: Need, end: int) -> bool:
        """Whether work that ends at `end` may start now, beside what is promised."""
        if not self._bounds[queue]:
            return True
        return self.lacks(queue, total) is None and all(
            self._within(queue, claim.then, total)
            for claim in self._claims.get(queue, ())
            if claim.pledge.start < end
        )

    def allows_promise(self, queue: int, total: Need, but: Pledge | None = None) -> bool:
        """Whether a promise may start at any time from now on, beside all others (`but` one)."""
        if not self._bounds[queue]:
            return True
        held: dict[int, int] = {n: self._views[n][queue] for n, _ in self._bounds[queue]}
        for claim in self._claims.get(queue, ()):
            if claim.pledge is but:
                continue
            for number, amount in claim.total:
                held[number] = held.get(number, 0) + amount
        return self._within(queue, held, total)

    def keeps(self, queue: int, total: Need, start: int, end: int) -> bool:
        """Whether a promise may hold from `start` to `end`, beside the other promises."""
        if not self._bounds[queue]:
            return True
        return self._within(queue, self._held_at(queue, start), total) and all(
            self._within(queue, claim.then, total)
            for claim in self._claims.get(queue, ())
            if start < claim.pledge.start < end
        )

    def promise(self, queue: int, total: Need, pledge: Pledge) -> None:
        """A promise stands from here on."""
        if self._bounds[queue]:
            claims = self._claims.setdefault(queue, [])
            claims.append(_Claim(pledge, total, {}))
            self._recount(queue)

    def release(self, queue: int, pledge: Pledge) -> None:
        """A promise stands no longer."""
        claims = self._claims.get(queue)
        if claims:
            self._claims[queue] = [claim for claim in claims if claim.pledge is not pledge]
            self._recount(queue)

    def take(self, queue: int, total: Need, end: int) -> None:
        """Work starts now and ends at `end` at the latest."""
        for number, amount in total:
            self._views[number][queue] += amount
        if not self._bounds[queue]:
            return
        self._started.append((queue, end, total))
        for claim in self._claims.get(queue, ()):
            if claim.pledge.start < end:
                for number, amount in total:
                    claim.then[number] = claim.then.get(number, 0) + amount

    def affords(self, rows: Ints) -> Mask:
        """Which of these waiting rows their quota lets start, promises aside."""
        return self._affords(rows, self._used)

    def ever_affords(self, rows: Ints) -> Mask:
        """Which of these waiting rows their quota would let start if the queue held nothing."""
        return self._affords(rows, np.zeros_like(self._used))

    def _affords(self, rows: Ints, used: Ints) -> Mask:
        jobs = self._state.jobs
        fits = np.ones(rows.size, np.bool_)
        numbers = np.flatnonzero((self._limits < FAR).any(axis=1)).tolist()
        if numbers:
            queues, classes = jobs.array("queue")[rows], jobs.array("klass")[rows]
        for number in numbers:
            left = self._limits[number] - used[number]
            asked = self._state.classes.total.data[number][classes]
            fits &= (asked == 0) | (asked <= left[queues])
        return fits

    @cached_property
    def _limits(self) -> Ints:
        """The quotas by resource and queue, `FAR` where there is none."""
        limits = np.full(self._used.shape, FAR, np.int64)
        for queue, bounds in enumerate(self._bounds):
            for number, bound in bounds:
                limits[number, queue] = bound
        return limits

    def _within(self, queue: int, held: dict[int, int], total: Need) -> bool:
        asked = dict(total)
        return all(
            held.get(number, 0) + asked[number] <= bound
            for number, bound in self._bounds[queue]
            if number in asked
        )

    def _recount(self, queue: int) -> None:
        for claim in self._claims[queue]:
            claim.then.clear()
            claim.then.update(self._held_at(queue, claim.pledge.start))

    def _held_at(self, queue: int, time: int) -> dict[int, int]:
        """What work that runs until after `time` and promises that cover it hold."""
        entries = self._state.entries
        live = entries.live()
        live = live[self._state.jobs.array("queue")[entries.array("row")[live]] == queue]
        live = live[np.maximum(entries.array("end")[live], self._now + 1) > time]
        held = {n: int(entries.amounts.data[n][live].sum()) for n, _ in self._bounds[queue]}
        needs = [total for q, end, total in self._started if q == queue and end > time]
        claims = self._claims.get(queue, ())
        needs += [claim.total for claim in claims if claim.pledge.covers(time)]
        for need in needs:
            for number, amount in need:
                held[number] = held.get(number, 0) + amount
        return held
