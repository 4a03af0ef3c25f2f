"""Nodes: what they have, what is free on them, and which of them a gang may use."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from gridloom_services.scheduler.engine.columns import Ints, Mask, Need, Resources, Table
from gridloom_services.scheduler.engine.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom_services.scheduler.engine.events import NodeSet

Selector = tuple[tuple[str, str], ...]
"""Labels that a node must carry, in order of their names."""

RANK_BITS = 24
FREENESS_BITS = 16
PACK_BITS = RANK_BITS + FREENESS_BITS
MAX_NODES = 1 << RANK_BITS


def is_device(resource: str) -> bool:
    """Whether a resource is a device: Kubernetes' extended resources have a "/" in their name."""
    return "/" in resource


class Kinds:
    """Numbers of distinct capacities, each for as long as some node has it."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self.capacities: list[Need] = []
        self.devices: list[bool] = []
        self._numbers: dict[Need, int] = {}
        self._references: list[int] = []
        self._spare: list[int] = []

    def acquire(self, capacity: Need) -> int:
        """The number of a capacity; one more node has it."""
        number = self._numbers.get(capacity)
        if number is None:
            number = self._numbers[capacity] = self._add(capacity)
        self._references[number] += 1
        return number

    def release(self, number: int) -> None:
        """One node less has it."""
        self._references[number] -= 1
        if not self._references[number]:
            del self._numbers[self.capacities[number]]
            self._spare.append(number)

    def _add(self, capacity: Need) -> int:
        if not self._spare:
            self._spare.append(len(self.capacities))
            self.capacities.append(())
            self.devices.append(False)
            self._references.append(0)
        number = self._spare.pop()
        self.capacities[number] = capacity
        self.devices[number] = any(is_device(self._resources.names[n]) for n, _ in capacity)
        return number


class NodeTable(Table):
    """One row a node. Rows of nodes that left stay while work or promises refer to them.

    `epoch` changes with everything that decides which gangs could ever fit. Nodes of one `kind`
    have the same capacity; `kinds` says which, by number.
    """

    fields: ClassVar[tuple[str, ...]] = ("present", "schedulable", "devices", "references", "kind")

    present: memoryview[int]
    schedulable: memoryview[int]
    devices: memoryview[int]
    references: memoryview[int]
    kind: memoryview[int]

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self.capacity = resources.block()
        self.free = resources.block()
        super().__init__(self.capacity, self.free)
        self.names: list[str] = []
        self.labels: list[Mapping[str, str]] = []
        self.rows: dict[str, int] = {}
        self.kinds = Kinds(resources)
        self.epoch = 1
        self._masks: dict[tuple[Selector, bool], Mask] = {}
        self._ranks: Ints | None = None

    def set(self, event: NodeSet) -> None:
        """A node came or changed; what is in use on it stays in use."""
        need = self.resources.need(event.capacity)
        row = self.row(event.name)
        before = self.present[row], self.schedulable[row], self.labels[row]
        after = 1, int(event.schedulable), dict(event.labels)
        had_devices = self.devices[row]
        if before == after and self.kinds.capacities[self.kind[row]] == need:
            return
        self.epoch += 1
        self.present[row], self.schedulable[row], self.labels[row] = after
        self._set_capacity(row, need)
        if before != after or had_devices != self.devices[row]:
            self._masks.clear()

    def remove(self, name: str) -> None:
        """A node left; its row goes when nothing refers to it any more."""
        row = self.rows.get(name)
        if row is None or not self.present[row]:
            raise EngineError(f"node {name!r} is not here")
        self.present[row] = self.schedulable[row] = 0
        self._set_capacity(row, ())
        self.epoch += 1
        self._masks.clear()
        self._drop_if_unused(row)

    def row(self, name: str) -> int:
        """The row of a node; one without capacity is made for a name that is not known."""
        row = self.rows.get(name)
        if row is not None:
            return row
        if len(self.rows) >= MAX_NODES:
            raise EngineError(f"more than {MAX_NODES} nodes")
        row = self.take()
        if row == len(self.names):
            self.names.append("")
            self.labels.append({})
        self.names[row], self.labels[row] = name, {}
        self.kind[row] = self.kinds.acquire(())
        self.rows[name] = row
        self._ranks = None
        self._masks.clear()
        return row

    def hold(self, row: int) -> None:
        """Something refers to this row."""
        self.references[row] += 1

    def release(self, row: int) -> None:
        """Something no longer refers to this row."""
        self.references[row] -= 1
        self._drop_if_unused(row)

    def usable(self) -> Mask:
        """Nodes that are here and may be used."""
        return self.mask(())

    def mask(self, selector: Selector, *, plain: bool = False) -> Mask:
        """Nodes that are here, may be used and carry the labels; `plain`: those without devices.

        Do not change it.
        """
        known = self._masks.get((selector, plain))
        if known is not None:
            return known
        mask: Mask = self.array("schedulable") != 0
        if selector:
            mask &= self.labelled(selector)
        if plain:
            mask &= self.array("devices") == 0
        self._masks[selector, plain] = mask
        return mask

    def labelled(self, selector: Selector) -> Mask:
        """Nodes that are here, usable or not, and carry the selector's labels."""
        wanted = set(selector)
        carry = (wanted <= labels.items() for labels in self.labels)
        mask: Mask = np.fromiter(carry, np.bool_, self.size)
        mask &= self.array("present") != 0
        return mask

    def forget_mask(self, selector: Selector) -> None:
        """Nobody asks for these labels any more."""
        self._masks.pop((selector, False), None)
        self._masks.pop((selector, True), None)

    def ranks(self) -> Ints:
        """Each row's place in the order of names: ties are broken by name, never by history."""
        if self._ranks is None or self._ranks.size != self.size:
            self._ranks = np.zeros(self.size, np.int64)
            for rank, name in enumerate(sorted(self.rows)):
                self._ranks[self.rows[name]] = rank
        return self._ranks

    def _set_capacity(self, row: int, need: Need) -> None:
        before, capacity = self.kind[row], dict(need)
        self.kind[row] = self.kinds.acquire(need)
        self.kinds.release(before)
        self.devices[row] = self.kinds.devices[self.kind[row]]
        for number, (have, free) in enumerate(
            zip(self.capacity.views, self.free.views, strict=True)
        ):
            amount = capacity.get(number, 0)
            free[row] += amount - have[row]
            have[row] = amount

    def _drop_if_unused(self, row: int) -> None:
        if self.present[row] or self.references[row]:
            return
        del self.rows[self.names[row]]
        self.kinds.release(self.kind[row])
        self.names[row], self.labels[row] = "", {}
        self.give(row)
        self._ranks = None
