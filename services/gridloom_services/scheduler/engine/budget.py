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
    """A promise's part of a quota; `then` is all that is held at its start, by number."""

    pledge: Pledge
    total: Need
    then: dict[int, int]


class Budget:
    """What each queue, and each project, may still start, as this plan goes on.

    Work must be within the quota of its queue and within that of its project.
    """

    def __init__(self, state: State, now: int) -> None:
        self._levels = [_Accounts.of_queues(state, now)]
        if state.queues.project_bounds:
            self._levels.append(_Accounts.of_projects(state, now))

    def lacks(self, queue: int, total: Need) -> int | None:
        """The resource, by number, of which a quota leaves less than `total` now; or None."""
        found = (level.lacks(level.of(queue), total) for level in self._levels)
        return next((number for number in found if number is not None), None)

    def lacks_only_in_project(self, queue: int, total: Need) -> bool:
        """Whether it is not the queue's own quota that leaves too little."""
        return self._levels[0].lacks(queue, total) is None

    def left(self, queue: int, number: int) -> int:
        """What the quotas leave of a resource that one of them bounds."""
        found = (level.left(level.of(queue), number) for level in self._levels)
        return min(left for left in found if left is not None)

    def allows(self, queue: int, total: Need, end: int) -> bool:
        """Whether work that ends at `end` may start now, beside what is promised."""
        return all(level.allows(level.of(queue), total, end) for level in self._levels)

    def allows_promise(self, queue: int, total: Need, but: Pledge | None = None) -> bool:
        """Whether a promise may start at any time from now on, beside all others (`but` one)."""
        return all(level.allows_promise(level.of(queue), total, but) for level in self._levels)

    def keeps(self, queue: int, total: Need, start: int, end: int) -> bool:
        """Whether a promise may hold from `start` to `end`, beside the other promises."""
        return all(level.keeps(level.of(queue), total, start, end) for level in self._levels)

    def promise(self, queue: int, total: Need, pledge: Pledge) -> None:
        """A promise stands from here on."""
        for level in self._levels:
            level.promise(level.of(queue), total, pledge)

    def release(self, queue: int, pledge: Pledge) -> None:
        """A promise stands no longer."""
        for level in self._levels:
            level.release(level.of(queue), pledge)

    def take(self, queue: int, total: Need, end: int) -> None:
        """Work starts now and ends at `end` at the latest."""
        for level in self._levels:
            level.take(level.of(queue), total, end)

    def affords(self, rows: Ints) -> Mask:
        """Which of these waiting rows their quotas let start, promises aside."""
        return _all([level.affords(rows) for level in self._levels])

    def ever_affords(self, rows: Ints) -> Mask:
        """Which of these waiting rows their quotas would let start if nothing were held."""
        return _all([level.ever_affords(rows) for level in self._levels])


class _Accounts:
    """Accounts of one kind, queues or projects: `of` says which is a queue's."""

    def __init__(
        self, state: State, now: int, accounts: Ints, bounds: list[Need], used: Ints
    ) -> None:
        """`accounts` has the account of each queue, by the queue's row."""
        self._state = state
        self._now = now
        self._account: list[int] = accounts.tolist()
        self._accounts = accounts
        self._bounds = bounds
        self._used = used
        self._views = [memoryview(row) for row in self._used]
        self._claims: dict[int, list[_Claim]] = {}
        self._started: list[tuple[int, int, Need]] = []

    @classmethod
    def of_queues(cls, state: State, now: int) -> _Accounts:
        """An account a queue."""
        used: Ints = state.queues.used.data.copy()
        return cls(state, now, np.arange(used.shape[1]), state.queues.bounds, used)

    @classmethod
    def of_projects(cls, state: State, now: int) -> _Accounts:
        """An account a project that has a quota; all others share one that has none."""
        queues = state.queues
        numbers = {project: n for n, project in enumerate(queues.project_bounds, start=1)}
        accounts = np.zeros(queues.used.data.shape[1], np.int64)
        for row in range(len(queues.names)):
            accounts[row] = numbers.get(queues.project(row), 0)
        used = np.zeros((queues.used.data.shape[0], len(numbers) + 1), np.int64)
        np.add.at(used.T, accounts, queues.used.data.T)
        return cls(state, now, accounts, [(), *queues.project_bounds.values()], used)

    def of(self, queue: int) -> int:
        """The account of a queue."""
        return self._account[queue]

    def lacks(self, account: int, total: Need) -> int | None:
        """The resource, by number, of which the quota leaves less than `total` now; or None."""
        bounds = self._bounds[account]
        if not bounds:
            return None
        asked = dict(total)
        for number, bound in bounds:
            amount = asked.get(number, 0)
            if amount and self._views[number][account] + amount > bound:
                return number
        return None

    def left(self, account: int, number: int) -> int | None:
        """What the quota leaves of a resource; None where it does not bound it."""
        bound = dict(self._bounds[account]).get(number)
        return None if bound is None else bound - self._views[number][account]

    def allows(self, account: int, total: Need, end: int) -> bool:
        """Whether work that ends at `end` may start now, beside what is promised."""
        if not self._bounds[account]:
            return True
        return self.lacks(account, total) is None and all(
            self._within(account, claim.then, total)
            for claim in self._claims.get(account, ())
            if claim.pledge.start < end
        )

    def allows_promise(self, account: int, total: Need, but: Pledge | None = None) -> bool:
        """Whether a promise may start at any time from now on, beside all others (`but` one)."""
        if not self._bounds[account]:
            return True
        held: dict[int, int] = {n: self._views[n][account] for n, _ in self._bounds[account]}
        for claim in self._claims.get(account, ()):
            if claim.pledge is but:
                continue
            for number, amount in claim.total:
                held[number] = held.get(number, 0) + amount
        return self._within(account, held, total)

    def keeps(self, account: int, total: Need, start: int, end: int) -> bool:
        """Whether a promise may hold from `start` to `end`, beside the other promises."""
        if not self._bounds[account]:
            return True
        return self._within(account, self._held_at(account, start), total) and all(
            self._within(account, claim.then, total)
            for claim in self._claims.get(account, ())
            if start < claim.pledge.start < end
        )

    def promise(self, account: int, total: Need, pledge: Pledge) -> None:
        """A promise stands from here on."""
        if self._bounds[account]:
            claims = self._claims.setdefault(account, [])
            claims.append(_Claim(pledge, total, {}))
            self._recount(account)

    def release(self, account: int, pledge: Pledge) -> None:
        """A promise stands no longer."""
        claims = self._claims.get(account)
        if claims:
            self._claims[account] = [claim for claim in claims if claim.pledge is not pledge]
            self._recount(account)

    def take(self, account: int, total: Need, end: int) -> None:
        """Work starts now and ends at `end` at the latest."""
        for number, amount in total:
            self._views[number][account] += amount
        if not self._bounds[account]:
            return
        self._started.append((account, end, total))
        for claim in self._claims.get(account, ()):
            if claim.pledge.start < end:
                for number, amount in total:
                    claim.then[number] = claim.then.get(number, 0) + amount

    def affords(self, rows: Ints) -> Mask:
        """Which of these waiting rows their quota lets start, promises aside."""
        return self._affords(rows, self._used)

    def ever_affords(self, rows: Ints) -> Mask:
        """Which of these waiting rows their quota would let start if the account held nothing."""
        return self._affords(rows, np.zeros_like(self._used))

    def _affords(self, rows: Ints, used: Ints) -> Mask:
        jobs = self._state.jobs
        fits = np.ones(rows.size, np.bool_)
        numbers = np.flatnonzero((self._limits < FAR).any(axis=1)).tolist()
        if numbers:
            accounts, classes = self._accounts[jobs.array("queue")[rows]], jobs.array("klass")[rows]
        for number in numbers:
            left = self._limits[number] - used[number]
            asked = self._state.classes.total.data[number][classes]
            fits &= (asked == 0) | (asked <= left[accounts])
        return fits

    @cached_property
    def _limits(self) -> Ints:
        """The quotas by resource and account, `FAR` where there is none."""
        limits = np.full(self._used.shape, FAR, np.int64)
        for account, bounds in enumerate(self._bounds):
            for number, bound in bounds:
                limits[number, account] = bound
        return limits

    def _within(self, account: int, held: dict[int, int], total: Need) -> bool:
        asked = dict(total)
        return all(
            held.get(number, 0) + asked[number] <= bound
            for number, bound in self._bounds[account]
            if number in asked
        )

    def _recount(self, account: int) -> None:
        for claim in self._claims[account]:
            claim.then.clear()
            claim.then.update(self._held_at(account, claim.pledge.start))

    def _held_at(self, account: int, time: int) -> dict[int, int]:
        """What work that runs until after `time` and promises that cover it hold."""
        entries = self._state.entries
        live = entries.live()
        queues = self._state.jobs.array("queue")[entries.array("row")[live]]
        live = live[self._accounts[queues] == account]
        live = live[np.maximum(entries.array("end")[live], self._now + 1) > time]
        held = {n: int(entries.amounts.data[n][live].sum()) for n, _ in self._bounds[account]}
        needs = [total for other, end, total in self._started if other == account and end > time]
        claims = self._claims.get(account, ())
        needs += [claim.total for claim in claims if claim.pledge.covers(time)]
        for need in needs:
            for number, amount in need:
                held[number] = held.get(number, 0) + amount
        return held


def _all(masks: list[Mask]) -> Mask:
    together = masks[0]
    for mask in masks[1:]:
        together &= mask
    return together
