"""Jobs that wait or run: one row a job, however many elements its array has.

A row of kind `GROWTH` is a request for more replicas of one role of an element that runs. It waits
among the jobs, has no promise, and lasts no longer than its gang (`fixed_end`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from gridloom_services.common.values import dataclass
from gridloom_services.scheduler.engine.columns import FAR, Ints, Table
from gridloom_services.scheduler.engine.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gridloom_services.scheduler.engine.runs import Runs

_KEY_BITS = 62

JOB = 0
GROWTH = 1


@dataclass(frozen=True, slots=True)
class Parent:
    """Whose growth a row of kind `GROWTH` is."""

    row: int
    element: int
    role: int


class JobTable(Table):
    """Jobs and growth requests.

    `priority` is the effective one (the queue's added); `pending` and `running` count elements (of
    growth: replicas asked for, and 0). `tie` orders rows of one job and sequence. `version` changes
    whenever the order of the waiting may have.
    """

    fields: ClassVar[tuple[str, ...]] = (
        "kind",
        "queue",
        "klass",
        "priority",
        "sequence",
        "limit",
        "pending",
        "running",
        "max_parallel",
        "fixed_end",
        "tie",
    )

    kind: memoryview[int]
    queue: memoryview[int]
    klass: memoryview[int]
    priority: memoryview[int]
    sequence: memoryview[int]
    limit: memoryview[int]
    pending: memoryview[int]
    running: memoryview[int]
    max_parallel: memoryview[int]
    fixed_end: memoryview[int]
    tie: memoryview[int]

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.rows: dict[str, int] = {}
        self.runs: dict[int, Runs] = {}
        self.sizes: dict[int, int] = {}
        self.parents: dict[int, Parent] = {}
        self.version = 0
        self._order: tuple[int, Ints] | None = None

    def row(self, job: str) -> int:
        """The row of a job that is known."""
        row = self.rows.get(job)
        if row is None:
            raise EngineError(f"job {job!r} neither waits nor runs here")
        return row

    def add(self, job: str, klass: int) -> int:
        """A row for a job of this class."""
        row = self._take(job, klass)
        self.rows[job] = row
        self.fixed_end[row] = -FAR
        return row

    def add_growth(self, parent: Parent, klass: int, end: int) -> int:
        """A row for growth of a gang that ends at `end`; its place in the queue is the caller's."""
        row = self._take(self.ids[parent.row], klass)
        self.kind[row] = GROWTH
        self.parents[row] = parent
        self.limit[row] = 1
        self.fixed_end[row] = end
        self.tie[row] = 1 + (parent.element << 8) + parent.role
        return row

    def drop(self, row: int) -> None:
        """Nothing of this row waits or runs."""
        if self.kind[row] == JOB:
            del self.rows[self.ids[row]]
            self.runs.pop(row, None)
            self.sizes.pop(row, None)
        else:
            del self.parents[row]
        self.ids[row] = ""
        self.give(row)

    def elements(self, row: int) -> Iterator[int]:
        """The waiting elements of a job, lowest first."""
        runs = self.runs.get(row)
        if runs is not None:
            return iter(runs)
        return iter((0,)) if self.pending[row] else iter(())

    def waits(self, row: int, element: int) -> bool:
        """Whether this element waits."""
        runs = self.runs.get(row)
        if runs is not None:
            return element in runs
        return element == 0 and self.pending[row] > 0

    def take_element(self, row: int, element: int) -> bool:
        """An element waits no longer; returns whether it did."""
        runs = self.runs.get(row)
        waited = self.waits(row, element) if runs is None else runs.remove(element)
        self.pending[row] -= int(waited)
        return waited

    def give_elements(self, row: int, runs: Iterable[tuple[int, int]]) -> int:
        """Elements wait (again); returns how many did not before."""
        held = self.runs.get(row)
        if held is None:
            added = int(not self.pending[row] and any(True for _ in runs))
        else:
            added = sum(held.add(first, count) for first, count in runs)
        self.pending[row] += added
        self.version += 1
        return added

    def raise_priority(self, queue: int, by: int) -> None:
        """All rows of a queue have another priority."""
        rows = (self.array("queue") == queue) & (self.array("limit") > 0)
        self.array("priority")[rows] += by
        self.version += 1

    def order(self) -> Ints:
        """All rows that wait, in the order of their turns; some may wait no longer.

        Priority, then age. Cached until something new waits.
        """
        if self._order is None or self._order[0] != self.version:
            waiting = np.flatnonzero(self.array("pending"))
            self._order = (self.version, self.sort(waiting))
        return self._order[1]

    def sort(self, rows: Ints) -> Ints:
        """These rows in the order of their turns."""
        if not rows.size:
            return rows
        key = self._packed(rows)
        if key is None:
            return rows[np.lexsort(self._keys(rows))]
        order = np.argsort(key)
        if (np.diff(key[order]) == 0).any():
            order = np.lexsort((self.array("tie")[rows], key))
        return rows[order]

    def first(self, rows: Ints, count: int) -> Ints:
        """The first `count` of these rows in the order of their turns, without sorting all."""
        key = self._packed(rows) if rows.size > count else None
        if key is not None:
            rows = rows[key <= np.partition(key, count)[count]]
        return self.sort(rows)[:count]

    def ends(self, rows: Ints, now: int) -> Ints:
        """When work of these rows would end at the latest, were it started now."""
        limits = now + self.array("limit")[rows]
        return np.maximum(limits, self.array("fixed_end")[rows], out=limits)

    def end(self, row: int, now: int) -> int:
        """When work of this row would end at the latest, were it started now."""
        return max(now + self.limit[row], self.fixed_end[row])

    def _packed(self, rows: Ints) -> Ints | None:
        # One key sorts in a third of the time of three. Both ranges are narrow in practice.
        priority = self.array("priority")[rows]
        sequence = self.array("sequence")[rows]
        lowest, highest = int(sequence.min()), int(priority.max())
        bits = (int(sequence.max()) - lowest).bit_length()
        if bits + (highest - int(priority.min())).bit_length() > _KEY_BITS:
            return None
        return ((highest - priority) << bits) | (sequence - lowest)

    def _keys(self, rows: Ints) -> tuple[Ints, Ints, Ints]:
        priority = self.array("priority")[rows]
        return self.array("tie")[rows], self.array("sequence")[rows], -priority

    def _take(self, job: str, klass: int) -> int:
        row = self.take()
        if row == len(self.ids):
            self.ids.append("")
        self.ids[row] = job
        self.klass[row] = klass
        self.version += 1
        return row
