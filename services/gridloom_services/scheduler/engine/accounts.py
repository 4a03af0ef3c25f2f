"""Accounts: what each queue's running work holds, and what its quota leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from gridloom_services.scheduler.engine.columns import FAR, Need, Resources, Table
from gridloom_services.scheduler.engine.errors import EngineError

if TYPE_CHECKING:
    from gridloom_services.scheduler.engine.events import QueueSet


class QueueTable(Table):
    """One row a queue; `bounds` are its quota, by number of the resource.

    A queue that was removed stays, closed, until the last job of it is gone.
    """

    fields: ClassVar[tuple[str, ...]] = (
        "priority",
        "closed",
        "removed",
        "jobs",
        "queued",
        "running",
    )

    priority: memoryview[int]
    closed: memoryview[int]
    removed: memoryview[int]
    jobs: memoryview[int]
    queued: memoryview[int]
    running: memoryview[int]

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self.used = resources.block()
        self.bounds: list[Need] = []
        super().__init__(self.used)
        self.names: list[str] = []
        self.rows: dict[str, int] = {}

    def set(self, event: QueueSet) -> int:
        """A queue came or changed; returns its row."""
        bounds = tuple(
            (self.resources.number(name), min(amount, FAR)) for name, amount in event.quota.items()
        )
        row = self.rows.get(event.queue)
        if row is None:
            row = self._add(event.queue)
        self.priority[row] = event.priority
        self.closed[row] = int(event.closed)
        self.removed[row] = 0
        self.bounds[row] = tuple(sorted(bounds))
        return row

    def remove(self, name: str) -> None:
        """A queue left."""
        row = self.row(name)
        self.closed[row] = self.removed[row] = 1
        self._drop_if_unused(row)

    def row(self, name: str) -> int:
        """The row of a queue that is here."""
        row = self.rows.get(name)
        if row is None or self.removed[row]:
            raise EngineError(f"queue {name!r} is not here")
        return row

    def release(self, row: int) -> None:
        """One job less refers to this queue."""
        self.jobs[row] -= 1
        self._drop_if_unused(row)

    def _add(self, name: str) -> int:
        row = self.take()
        if row == len(self.names):
            self.names.append("")
            self.bounds.append(())
        self.names[row] = name
        self.rows[name] = row
        return row

    def _drop_if_unused(self, row: int) -> None:
        if self.removed[row] and not self.jobs[row]:
            del self.rows[self.names[row]]
            self.names[row], self.bounds[row] = "", ()
            self.give(row)
