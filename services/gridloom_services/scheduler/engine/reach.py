"""Reach: which nodes a class may use, and whether it could ever run on them.

A gang that asks for no device stays off nodes that have one, where it could run elsewhere if all
were empty: packing alone still let such work fill the nodes and starve their devices. Remembered in
the class table until the nodes change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gridloom_services.scheduler.engine.classes import role_of, shape_of
from gridloom_services.scheduler.engine.decisions import Misfit
from gridloom_services.scheduler.engine.fit import place, total_count
from gridloom_services.scheduler.engine.profile import packed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom_services.scheduler.engine.classes import ClassTable, Role, Shape
    from gridloom_services.scheduler.engine.columns import Ints, Mask
    from gridloom_services.scheduler.engine.events import RoleRequest
    from gridloom_services.scheduler.engine.nodes import NodeTable, Selector

UNKNOWN, PLAIN, ALL, NEVER = range(4)


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

    def allowed(self, klass: int) -> Mask:
        """Nodes that this class may use now."""
        return self._mask(self._classes.shape(klass).selector, self.of(klass))

    def known_never(self) -> Mask:
        """Classes that are known never to fit; others may turn out so."""
        known = self._classes.array("epoch") == self._nodes.epoch
        mask: Mask = known & (self._classes.array("reach") == NEVER)
        return mask

    def within(self, klass: int) -> Mask:
        """Classes of which it is known that they may use no node that this one may not.

        Only where their selectors are equal.
        """
        if self.of(klass) != PLAIN:
            return np.ones(self._classes.size, np.bool_)
        known = self._classes.array("epoch") == self._nodes.epoch
        mask: Mask = known & (self._classes.array("reach") == PLAIN)
        return mask

    def misfit(
        self, requests: tuple[RoleRequest, ...], selector: Mapping[str, str]
    ) -> Misfit | None:
        """Why a gang fits no set of nodes that are here, usable or not; None if it does."""
        resources = self._nodes.resources
        for request in requests:
            for name, amount in request.resources.items():
                largest = self._largest(name)
                if amount > largest:
                    return Misfit(request.name, name, amount, largest)
        roles = [role_of(request, resources) for request in requests]
        return self.shape_misfit(shape_of(resources, roles, tuple(sorted(selector.items()))))

    def shape_misfit(self, shape: Shape) -> Misfit | None:
        """Why a shape fits no set of nodes that are here, usable or not; None if it does."""
        here = self._nodes.labelled(shape.selector)
        capacity = self._capacity()
        if _fits(capacity, shape, here, packed(capacity, self._nodes)):
            return None
        for role in shape.roles:
            misfit = self._role_misfit(role, capacity, here)
            if misfit is not None:
                return misfit
        role = max(shape.roles, key=lambda role: role.gang)
        return Misfit(role.name, "", role.gang, 0)

    def _find(self, shape: Shape) -> int:
        nodes = self._nodes
        capacity = self._capacity()
        pack = packed(capacity, nodes)
        everywhere = self._mask(shape.selector, ALL)
        if not _fits(capacity, shape, everywhere, pack):
            return NEVER
        if not self._spare_devices or shape.devices or not nodes.array("devices").any():
            return ALL
        plain = self._mask(shape.selector, PLAIN)
        return PLAIN if _fits(capacity, shape, plain, pack) else ALL

    def _mask(self, selector: Selector, reach: int) -> Mask:
        mask = self._nodes.mask(selector)
        if reach == PLAIN:
            mask = mask & (self._nodes.array("devices") == 0)
        return mask

    def _largest(self, resource: str) -> int:
        # Asking must not make a resource known: names come from anyone.
        if resource not in self._nodes.resources.names:
            return 0
        number = self._nodes.resources.number(resource)
        return int(self._nodes.capacity.data[number].max())

    def _capacity(self) -> Ints:
        return self._nodes.capacity.data[:, : self._nodes.size].copy()

    def _role_misfit(self, role: Role, capacity: Ints, here: Mask) -> Misfit | None:
        names = self._nodes.resources.names
        if not here.any():
            return Misfit(role.name, "", role.gang, 0)
        for number, amount in role.need:
            largest = int(capacity[number][here].max())
            if largest < amount:
                return Misfit(role.name, names[number], amount, largest)
        holds = total_count(capacity, role.need, role.gang, here)
        if holds >= role.gang:
            return None
        # The resource whose sum is scarcest beside what is asked; nodes hold whole replicas of it.
        number, amount = max(
            role.need, key=lambda need: need[1] / max(1, int(capacity[need[0]][here].sum()))
        )
        return Misfit(role.name, names[number], amount * role.gang, amount * holds)


def _fits(capacity: Ints, shape: Shape, allowed: Mask, pack: Ints) -> bool:
    if len(shape.roles) == 1:
        role = shape.roles[0]
        return total_count(capacity, role.need, role.gang, allowed) >= role.gang
    return place(capacity, shape, allowed, pack) is not None
