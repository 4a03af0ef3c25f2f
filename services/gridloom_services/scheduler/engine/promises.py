"""Promises inside one plan: who holds which nodes from when, and what that leaves to others.

A promise is pinned to nodes and amounts: work that runs past its start must leave them whole. What
others may use until a time `e` is therefore a layer: the least, over now and every promised start
before `e`, of what is free then less what is promised then.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import field
from typing import TYPE_CHECKING

import numpy as np

from gridloom_services.common.values import dataclass
from gridloom_services.scheduler.engine.columns import FAR

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gridloom_services.scheduler.engine.allocations import Pick, Spread
    from gridloom_services.scheduler.engine.columns import Ints
    from gridloom_services.scheduler.engine.profile import Profile


@dataclass(slots=True, eq=False)
class Pledge:
    """A promise that stands in this plan. `base` is what is free at its start, nothing promised."""

    row: int
    element: int
    start: int
    end: int
    picks: list[Pick]
    spread: Spread
    base: Ints = field(repr=False)

    def covers(self, time: int) -> bool:
        """Whether it holds its nodes at this time."""
        return self.start <= time < self.end


class Pledges:
    """The promises that stand, by start, and the layers that they make of the profile."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._list: list[Pledge] = []
        self._starts: list[int] = []
        self._layers: list[Ints] | None = []

    def __iter__(self) -> Iterator[Pledge]:
        return iter(self._list)

    def __len__(self) -> int:
        return len(self._list)

    def of(self, row: int) -> Pledge | None:
        """The promise to this job, if one stands."""
        return next((pledge for pledge in self._list if pledge.row == row), None)

    def others(self, pledge: Pledge) -> list[Pledge]:
        """All but this one."""
        return [other for other in self._list if other is not pledge]

    def add(self, pledge: Pledge) -> None:
        """A promise stands from here on."""
        insort(self._list, pledge, key=_start)
        self._changed()

    def remove(self, pledge: Pledge) -> None:
        """A promise stands no longer."""
        self._list.remove(pledge)
        self._changed()

    def avail(self, end: int) -> tuple[Ints, int]:
        """What work that ends at `end` may use, and the earliest end for which that is the same."""
        if self._layers is None:
            self._layers = self._build()
        count = bisect_left(self._starts, end)
        if not count:
            return self._profile.free, -FAR
        return self._layers[count - 1], self._starts[count - 1] + 1

    def take(self, spread: Spread, end: int) -> None:
        """Something starts now, ends at `end` at the latest and is in nobody's way."""
        self._profile.take(spread, end)
        for pledge in self._list:
            if pledge.start < end:
                subtract(pledge.base, spread)
        if self._layers is not None:
            self._take_from_layers(self._layers, spread, end)

    def fits(self, spread: Spread, start: int, end: int, base: Ints) -> bool:
        """Whether these nodes are free from `start` (where `base` is free) to `end`, beside all."""
        points = [(start, base)]
        points += [(p.start, p.base) for p in self._list if start < p.start < end]
        for time, free in points:
            promised = [pledge for pledge in self._list if pledge.covers(time)]
            held: dict[tuple[int, int], int] = {}
            for node, number, amount in _cells(pledge.spread for pledge in promised):
                held[number, node] = held.get((number, node), 0) + amount
            for node, number, amount in _cells([spread]):
                if free[number, node] - held.get((number, node), 0) < amount:
                    return False
        return True

    def _changed(self) -> None:
        self._starts = [pledge.start for pledge in self._list]
        self._layers = None

    def _build(self) -> list[Ints]:
        layers: list[Ints] = []
        below = self._profile.free
        for pledge in self._list:
            layer = left_at(pledge, self._list)
            below = np.minimum(below, layer, out=layer)
            layers.append(layer)
        return layers

    def _take_from_layers(self, layers: list[Ints], spread: Spread, end: int) -> None:
        below = self._profile.free
        nodes = [node for node, _ in spread]
        for start, layer in zip(self._starts, layers, strict=True):
            if start < end:
                subtract(layer, spread)
            else:
                # What was free at its own start still is, but a layer is the least over all.
                layer[:, nodes] = np.minimum(layer[:, nodes], below[:, nodes])
            below = layer


def left_at(pledge: Pledge, pledges: Iterable[Pledge]) -> Ints:
    """What is free at a promise's start less what all these hold then."""
    left = pledge.base.copy()
    for other in pledges:
        if other.covers(pledge.start):
            subtract(left, other.spread)
    return left


def _start(pledge: Pledge) -> int:
    return pledge.start


def subtract(free: Ints, spread: Spread) -> None:
    """Take what is held on each node out of what is free."""
    for node, need in spread:
        for number, amount in need:
            free[number, node] -= amount


def _cells(spreads: Iterable[Spread]) -> Iterator[tuple[int, int, int]]:
    for spread in spreads:
        for node, need in spread:
            for number, amount in need:
                yield node, number, amount
