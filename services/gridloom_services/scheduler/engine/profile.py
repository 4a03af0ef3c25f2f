"""The profile: what is free now and what will be when running work reaches its limit.

It belongs to one plan: starts of that plan are taken from it, the state never changes. Work that
overran its limit counts as ending one second from now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gridloom_services.common.values import dataclass
from gridloom_services.scheduler.engine.columns import Ints
from gridloom_services.scheduler.engine.nodes import FREENESS_BITS, RANK_BITS

if TYPE_CHECKING:
    from gridloom_services.scheduler.engine.allocations import EntryTable, Spread
    from gridloom_services.scheduler.engine.columns import Mask, Need
    from gridloom_services.scheduler.engine.nodes import NodeTable

FREENESS_STEPS = 10
"""A resource's part of a node's freeness is its free share in steps of 2**-10."""

_MAX_FREENESS = (1 << FREENESS_BITS) - 1

_Given = tuple[Ints, Ints, Ints]
"""Ends, nodes and amounts (a row a resource) of what will be given back."""


@dataclass(frozen=True, slots=True)
class Releases:
    """What running work gives back, in order of its end.

    `amounts` has a row a resource. `by_node` lists releases by node, in order of their end within
    one; `first` marks each node's first there.
    """

    ends: Ints
    nodes: Ints
    amounts: Ints
    by_node: Ints
    first: Mask


class Profile:
    """Free amounts by resource and node, now (`free`) and later, and the nodes' order of use.

    `pack` orders nodes for placement, lower first: the fullest, then by name. Only `take` changes
    the arrays.
    """

    def __init__(self, nodes: NodeTable, entries: EntryTable, now: int) -> None:
        self.now = now
        self._nodes = nodes
        self._entries = entries
        self.free: Ints = nodes.free.data[:, : nodes.size].copy()
        self._free: list[memoryview[int]] = [memoryview(row) for row in self.free]
        self._ranks = nodes.ranks()
        self._rank: memoryview[int] = memoryview(self._ranks.data)
        self._pack: Ints | None = None
        self._taken: list[tuple[int, int, Need]] = []
        self._given: tuple[int, _Given] | None = None
        self._releases: tuple[int, Releases] | None = None

    @property
    def pack(self) -> Ints:
        """The nodes' order of use."""
        if self._pack is None:
            self._pack = packed(self.free, self._nodes)
        return self._pack

    def take(self, spread: Spread, end: int) -> None:
        """Something starts now and ends at `end` at the latest."""
        for node, need in spread:
            for number, amount in need:
                self._free[number][node] -= amount
            if self._pack is not None:
                self._pack[node] = self._pack_of(node)
            self._taken.append((end, node, need))

    def free_at(self, time: int) -> Ints:
        """What will be free at `time`, by resource and node, if nothing else starts."""
        ends, nodes, amounts = self._gathered()
        over = np.flatnonzero(ends <= time)
        nodes = nodes[over]
        free = self.free.copy()
        for number, given in enumerate(amounts):
            # Sums of one node's amounts are below 2**53, so the float sums are exact.
            sums = np.bincount(nodes, given[over], free.shape[1])
            free[number] += sums.astype(np.int64)
        return free

    def releases(self) -> Releases:
        """What running work and this plan's starts give back."""
        if self._releases is None or self._releases[0] != len(self._taken):
            self._releases = (len(self._taken), _ordered(*self._gathered()))
        return self._releases[1]

    def _gathered(self) -> _Given:
        if self._given is None or self._given[0] != len(self._taken):
            self._given = (len(self._taken), self._gather())
        return self._given[1]

    def _gather(self) -> _Given:
        live = self._entries.live()
        started = len(self._taken)
        ends = np.empty(live.size + started, np.int64)
        nodes = np.empty_like(ends)
        amounts = np.zeros((len(self.free), ends.size), np.int64)
        np.maximum(self._entries.array("end")[live], self.now + 1, out=ends[: live.size])
        nodes[: live.size] = self._entries.array("node")[live]
        amounts[:, : live.size] = self._entries.amounts.data[:, live]
        for at, (end, node, need) in enumerate(self._taken, live.size):
            ends[at], nodes[at] = end, node
            for number, amount in need:
                amounts[number, at] = amount
        return ends, nodes, amounts

    def _pack_of(self, node: int) -> int:
        freeness = 0
        for free, capacity in zip(self._free, self._nodes.capacity.views, strict=True):
            have = capacity[node]
            if have > 0:
                freeness += (max(free[node], 0) << FREENESS_STEPS) // have
        return min(freeness, _MAX_FREENESS) << RANK_BITS | self._rank[node]


def packed(free: Ints, nodes: NodeTable) -> Ints:
    """The nodes' order of use where this is free: the fullest first, then by name."""
    freeness = np.zeros(free.shape[1], np.int64)
    for have, capacity in zip(free, nodes.capacity.data, strict=True):
        most = capacity[: freeness.size]
        part = np.maximum(have, 0) << FREENESS_STEPS
        np.floor_divide(part, most, out=part, where=most > 0)
        freeness += np.where(most > 0, part, 0)
    pack: Ints = (np.minimum(freeness, _MAX_FREENESS) << RANK_BITS) | nodes.ranks()
    return pack


def _ordered(ends: Ints, nodes: Ints, amounts: Ints) -> Releases:
    order = np.argsort(ends, kind="stable")
    ends, nodes, amounts = ends[order], nodes[order], amounts[:, order]
    # Short keys are sorted by radix: a tenth of the time where there are less than 65,536 nodes.
    short = nodes.astype(np.uint16) if nodes.size and int(nodes.max()) < 2**16 else nodes
    by_node = np.argsort(short, kind="stable")
    along = nodes[by_node]
    first = np.ones(along.size, np.bool_)
    np.not_equal(along[1:], along[:-1], out=first[1:])
    return Releases(ends, nodes, amounts, by_node, first)
