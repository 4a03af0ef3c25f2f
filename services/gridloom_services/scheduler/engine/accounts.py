"""Accounts: what each queue's running work holds, and what its quota leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from gridloom_services.scheduler.engine.columns import FAR, Need, Resources, Table
from gridloom_services.scheduler.engine.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom_services.scheduler.engine.events import ProjectSet, QueueSet


class QueueTable(Table):
    """One row a queue; `bounds` are its quota, by number of the resource.

    `project_bounds` are the quotas of projects that have one, by name. A queue that was removed
    stays, closed, until the last job of it is gone.
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
        self.project_bounds: dict[str, Need] = {}
        super().__init__(self.used)
        self.names: list[str] = []
        self.rows: dict[str, int] = {}

    def set(self, event: QueueSet) -> int:
        """A queue came or changed; returns its row."""
        row = self.rows.get(event.queue)
        if row is None:
            row = self._add(event.queue)
        self.priority[row] = event.priority
        self.closed[row] = int(event.closed)
        self.removed[row] = 0
        self.bounds[row] = self._numbered(event.quota)
        return row

    def set_project(self, event: ProjectSet) -> None:
        """A project's quota came, changed or went."""
        self.project_bounds.pop(event.project, None)
        if event.quota:
            self.project_bounds[event.project] = self._numbered(event.quota)

    def project(self, row: int) -> str:
        """The project of a queue."""
        return self.names[row].partition("/")[0]

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

    def _numbered(self, quota: Mapping[str, int]) -> Need:
        amounts = ((self.resources.number(name), min(n, FAR)) for name, n in quota.items())
        return tuple(sorted(amounts))

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
