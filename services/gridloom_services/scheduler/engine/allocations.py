"""Allocations: what runs where, as one entry a gang, role and node."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from gridloom_services.common.values import dataclass
from gridloom_services.scheduler.engine.columns import Block, Ints, Need, Resources, Table

if TYPE_CHECKING:
    from gridloom_services.scheduler.engine.classes import Shape
    from gridloom_services.scheduler.engine.events import Assignment
    from gridloom_services.scheduler.engine.nodes import NodeTable

Pick = tuple[int, int, int]
"""A node's row, a role's position and how many of its replicas are there."""

Spread = list[tuple[int, Need]]
"""What is held on each node, by the node's row; no node twice."""


@dataclass(slots=True)
class Elastic:
    """The part of a running gang that comes and goes, of one role."""

    wanted: int
    used: set[int] = field(default_factory=set)
    """Indices of the replicas that are there."""
    requests: list[int] = field(default_factory=list)
    """Rows of growth, oldest first."""


@dataclass(slots=True)
class Gang:
    """An element that runs: its entries, its latest end, and its elastic roles by position."""

    end: int
    entries: list[int] = field(default_factory=list)
    elastic: dict[int, Elastic] | None = None


class EntryTable(Table):
    """Entries; a row that nobody uses has a count of zero and holds nothing."""

    fields: ClassVar[tuple[str, ...]] = ("node", "row", "role", "count", "end")

    node: memoryview[int]
    row: memoryview[int]
    role: memoryview[int]
    count: memoryview[int]
    end: memoryview[int]

    def __init__(self, resources: Resources) -> None:
        self.amounts: Block = resources.block()
        super().__init__(self.amounts)

    def add(self, row: int, pick: Pick, need: Need, end: int) -> int:
        """An entry of a gang of the job `row`, until `end` at the latest."""
        entry = self.take()
        self.node[entry], self.role[entry], self.count[entry] = pick
        self.row[entry] = row
        self.end[entry] = end
        views = self.amounts.views
        for number, amount in need:
            views[number][entry] = amount * pick[2]
        return entry

    def live(self) -> Ints:
        """Rows of the entries that hold something."""
        return np.flatnonzero(self.array("count"))


def picks_of(placement: tuple[Assignment, ...], shape: Shape, nodes: NodeTable) -> list[Pick]:
    """A placement by node and role; a node that is not known gets a row."""
    if len(placement) == 1:
        only = placement[0]
        return [(nodes.row(only.node), shape.position(only.role), 1)]
    counts: dict[tuple[str, str], int] = {}
    for assignment in placement:
        key = (assignment.node, assignment.role)
        counts[key] = counts.get(key, 0) + 1
    named = [(node, shape.position(role), count) for (node, role), count in counts.items()]
    return [(nodes.row(node), role, count) for node, role, count in named]


def spread_of(picks: list[Pick], shape: Shape) -> Spread:
    """What picks hold on each node."""
    if len(shape.roles) == 1:
        need = shape.roles[0].need
        return [(node, tuple((r, a * count) for r, a in need)) for node, _, count in picks]
    held: dict[int, dict[int, int]] = {}
    for node, role, count in picks:
        amounts = held.setdefault(node, {})
        for number, amount in shape.roles[role].need:
            amounts[number] = amounts.get(number, 0) + amount * count
    return [(node, tuple(sorted(amounts.items()))) for node, amounts in held.items()]
