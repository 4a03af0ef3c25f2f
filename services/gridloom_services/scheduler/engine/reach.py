"""Reach: which nodes a class may use, and whether it could ever run on them.

A gang that asks for no device stays off nodes that have one, where it could run elsewhere if all
were empty: packing alone still let such work fill the nodes and starve their devices. Remembered in
the class table until the nodes change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gridloom_services.scheduler.engine.fit import place, total_count
from gridloom_services.scheduler.engine.profile import packed

if TYPE_CHECKING:
    from gridloom_services.scheduler.engine.classes import ClassTable, Shape
    from gridloom_services.scheduler.engine.columns import Ints, Mask
    from gridloom_services.scheduler.engine.nodes import NodeTable, Selector

UNKNOWN, PLAIN, ALL, NEVER = range(4)

_MOST_KINDS = 16
"""Where nodes have more distinct capacities, classes are looked at one by one."""


class Reaches:
    """Answers by class, kept for one epoch of the nodes."""

    def __init__(self, classes: ClassTable, nodes: NodeTable, *, spare_devices: bool) -> None:
        self._classes = classes
        self._nodes = nodes
        self._spare_devices = spare_devices

    def of(self, klass: int) -> int:
        """`PLAIN`, `ALL` or `NEVER`."""
        classes, nodes = self._classes, self._nodes
        if classes.epoch[klass] != nodes.epoch:
            classes.reach[klass] = self._find(classes.shape(klass))
            classes.epoch[klass] = nodes.epoch
        return classes.reach[klass]

    def known(self) -> Ints:
        """What is known of every class, `UNKNOWN` where nothing is."""
        fresh = self._classes.array("epoch") == self._nodes.epoch
        return np.where(fresh, self._classes.array("reach"), UNKNOWN)

    def known_never(self) -> Mask:
        """Classes that are known never to fit; others may turn out so."""
        mask: Mask = self.known() == NEVER
        return mask

    def allowed(self, klass: int) -> Mask:
        """Nodes that this class may use now."""
        return self.mask(self._classes.shape(klass).selector, self.of(klass))

    def mask(self, selector: Selector, reach: int) -> Mask:
        """Usable nodes with these labels; for `PLAIN`, those of them without devices."""
        return self._nodes.mask(selector, plain=reach == PLAIN)

    def learn(self) -> None:
        """Find out about all classes of one role at once: kinds of nodes are few."""
        classes = self._classes
        new = (classes.array("epoch") != self._nodes.epoch) & (classes.array("single") == 1)
        rows = np.flatnonzero(new)
        selectors = classes.array("selector")[rows]
        for number in sorted(set(selectors.tolist())):
            self._learn(rows[selectors == number], classes.selector_of(number))

    def _learn(self, rows: Ints, selector: Selector) -> None:
        counts = np.bincount(self._nodes.array("kind")[self._nodes.mask(selector)])
        kinds = np.flatnonzero(counts).tolist()
        if len(kinds) > _MOST_KINDS:
            return
        classes = self._classes
        wanted = classes.array("replicas")[rows]
        everywhere, plain = np.zeros_like(wanted), np.zeros_like(wanted)
        for kind in kinds:
            holds = self._holds(kind, rows, wanted) * counts[kind]
            everywhere += holds
            if not self._nodes.kinds.devices[kind]:
                plain += holds
        spares = (classes.array("devices")[rows] == 0) & self._spares()
        reach = np.where(spares & (plain >= wanted), PLAIN, ALL)
        classes.array("reach")[rows] = np.where(everywhere >= wanted, reach, NEVER)
        classes.array("epoch")[rows] = self._nodes.epoch

    def _holds(self, kind: int, rows: Ints, wanted: Ints) -> Ints:
        """How many replicas, at most as many as wanted, an empty node of a kind holds."""
        holds = wanted.copy()
        capacity = dict(self._nodes.kinds.capacities[kind])
        for number, column in enumerate(self._classes.need.data):
            need = column[rows]
            asks = need > 0
            fits = capacity.get(number, 0) // np.maximum(need, 1)
            np.minimum(holds, fits, out=holds, where=asks)
        return holds

    def _spares(self) -> bool:
        return self._spare_devices and bool(self._nodes.array("devices").any())

    def _find(self, shape: Shape) -> int:
        nodes = self._nodes
        capacity = nodes.capacity.data[:, : nodes.size].copy()
        pack = packed(capacity, nodes)
        if not fits_whole(capacity, shape, self.mask(shape.selector, ALL), pack):
            return NEVER
        if shape.devices or not self._spares():
            return ALL
        plain = self.mask(shape.selector, PLAIN)
        return PLAIN if fits_whole(capacity, shape, plain, pack) else ALL


def fits_whole(avail: Ints, shape: Shape, allowed: Mask, pack: Ints) -> bool:
    """Whether a gang fits at all, wherever that may be."""
    if len(shape.roles) == 1:
        role = shape.roles[0]
        return total_count(avail, role, allowed) >= role.gang
    return place(avail, shape, allowed, pack) is not None
