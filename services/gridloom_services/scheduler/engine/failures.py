"""Failures of one plan: a class that did not fit until some end does not fit for longer either.

Room only shrinks while a plan goes on, so a failure holds to its end. One number a class says it:
the earliest end for which it failed. A failed class of one role also stops every class that asks at
least as much of the same nodes.
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import numpy as np

from gridloom_services.scheduler.engine.columns import FAR
from gridloom_services.scheduler.engine.reach import PLAIN

if TYPE_CHECKING:
    from gridloom_services.scheduler.engine.classes import ClassTable
    from gridloom_services.scheduler.engine.columns import Ints, Mask
    from gridloom_services.scheduler.engine.reach import Reaches

_REACHES = 4
_WORTH_A_PASS = 64
_LOOKS = 8


class Failures:
    """For each class, the earliest end for which it has failed (`FAR`: none).

    `focus` names the classes that are still of interest; what is said of others may be incomplete.
    """

    def __init__(self, classes: ClassTable, reaches: Reaches) -> None:
        self._classes = classes
        self._reaches = reaches
        self.ends: Ints = np.full(classes.size, FAR, np.int64)
        self._view: memoryview[int] = memoryview(self.ends.data)
        self._groups: list[_Group] = []

    def stops(self, klass: int, end: int) -> bool:
        """Whether a gang of this class that ends at `end` is known not to fit."""
        return self._view[klass] <= end

    def add(self, klass: int, end: int) -> None:
        """This class does not fit until `end`, nor until any later end."""
        self._view[klass] = min(self._view[klass], end)
        if self._classes.single[klass]:
            for group in self._groups:
                if self._covers(klass, group):
                    self._stop(group, group.asks_as_much(klass, self._classes), end)

    def focus(self, classes: Ints, ends: Ints) -> None:
        """Only these classes will be asked about from now on, each for these ends."""
        table = self._classes
        soonest = np.full(table.size, FAR, np.int64)
        np.minimum.at(soonest, classes, ends)
        rows = np.flatnonzero((soonest < self.ends) & (table.array("single") == 1))
        keys = table.array("selector")[rows] * _REACHES + self._reaches.known()[rows]
        self._groups = [
            _Group(key // _REACHES, key % _REACHES, rows[keys == key], soonest, table)
            for key in sorted(set(keys.tolist()))
        ]

    def rule_out(self, avail: Ints, end: int) -> None:
        """Classes of which no node has room for a replica, in any two resources, fail for `end`.

        What it tests is necessary, not enough: it costs one pass for thousands of classes.
        """
        for group in self._groups:
            if group.rows.size >= _WORTH_A_PASS:
                selector = self._classes.selector_of(group.selector)
                nodes = np.flatnonzero(self._reaches.mask(selector, group.reach))
                self._stop(group, _too_large(group.needs, avail, nodes), end)

    def _covers(self, klass: int, group: _Group) -> bool:
        """Whether this class may use every node that the group may."""
        if group.selector != self._classes.selector[klass]:
            return False
        return group.reach == PLAIN or self._reaches.of(klass) != PLAIN

    def _stop(self, group: _Group, stopped: Mask, end: int) -> None:
        rows = group.rows[stopped]
        self.ends[rows] = np.minimum(self.ends[rows], end)
        # Leaving out what is settled costs as much as a few looks at it.
        if rows.size * _LOOKS >= group.rows.size:
            group.keep(self.ends[group.rows] > group.soonest)


class _Group:
    """Classes of one role that may use the same nodes; columns beside their rows.

    `soonest` is the earliest end for which each is asked.
    """

    __slots__ = ("needs", "reach", "replicas", "rows", "selector", "soonest")

    def __init__(
        self, selector: int, reach: int, rows: Ints, soonest: Ints, table: ClassTable
    ) -> None:
        self.selector = selector
        self.reach = reach
        self.rows = rows
        self.soonest = soonest[rows]
        self.replicas = table.array("replicas")[rows]
        self.needs = table.need.data[:, rows]

    def asks_as_much(self, klass: int, table: ClassTable) -> Mask:
        """Which of them ask for at least as much as this class."""
        more: Mask = self.replicas >= table.replicas[klass]
        for view, needs in zip(table.need.views, self.needs, strict=True):
            asked = view[klass]
            if asked:
                more &= needs >= asked
        return more

    def keep(self, which: Mask) -> None:
        """Leave the others out."""
        self.rows, self.soonest = self.rows[which], self.soonest[which]
        self.replicas, self.needs = self.replicas[which], self.needs[:, which]


def _too_large(needs: Ints, avail: Ints, nodes: Ints) -> Mask:
    """Which needs (a column each) exceed, in some two resources, what any of these nodes has."""
    large = np.zeros(needs.shape[1], np.bool_)
    asked = np.flatnonzero(needs.any(axis=1)).tolist()
    pairs = list(combinations_with_replacement(asked, 2))
    for one, two in pairs:
        if one == two and len(asked) > 1:
            continue
        # A node may lack some of what it lost: that does not hinder who asks for none of it.
        have, most = _frontier(np.maximum(avail[one][nodes], 0), np.maximum(avail[two][nodes], 0))
        large |= most[np.searchsorted(have, needs[one])] < needs[two]
    return large


def _frontier(one: Ints, two: Ints) -> tuple[Ints, Ints]:
    """For amounts of one resource, ascending, the most of another on any node that has as much.

    One more value at the end: -1, for an amount that no node has.
    """
    order = np.argsort(-one)
    most = np.maximum.accumulate(two[order])
    better = np.flatnonzero(np.diff(most, prepend=-1) > 0)
    have = one[order][better][::-1]
    return have, np.append(most[better][::-1], -1)
