"""Projects: made, changed, listed and taken away.

A project is there when it has a queue, or when something is said of it: a quota, a description.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gridloom_services.common.errors import AlreadyExistsError, ConflictError, NotFoundError
from gridloom_services.scheduler.engine import events
from gridloom_services.scheduler.queue import DEFAULT_QUEUE, Queue
from gridloom_services.scheduler.queues import check_queue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom_services.scheduler.board import Board
    from gridloom_services.scheduler.journal import Journal
    from gridloom_services.scheduler.planner import Planner
    from gridloom_services.scheduler.queues import Queues


@dataclass(frozen=True, slots=True)
class ProjectView:
    """A project and what its queues hold together now."""

    name: str
    quota: Mapping[str, int]
    description: str
    queues: tuple[str, ...]
    used: Mapping[str, int]
    queued_jobs: int
    running_jobs: int


class Projects:
    """Keeps board, engine and journal in step about projects."""

    def __init__(self, board: Board, journal: Journal, planner: Planner, queues: Queues) -> None:
        self._board = board
        self._journal = journal
        self._planner = planner
        self._queues = queues

    def begin(self) -> None:
        """Tell the engine of all quotas."""
        for account in self._board.projects.values():
            self._planner.apply(events.ProjectSet(account.project, dict(account.quota)))

    def create(self, name: str, changes: Mapping[str, Any]) -> None:
        """Make a project with its first queue. AlreadyExistsError where there is one."""
        if name in self.names():
            raise AlreadyExistsError(f'project "{name}" exists', field="name", given=name)
        self._put(replace(Queue(name, ""), **changes))
        self._queues.create(Queue(name, DEFAULT_QUEUE))

    def update(self, name: str, changes: Mapping[str, Any]) -> None:
        """Change what is said of a project; what runs goes on."""
        self._check_there(name)
        account = self._board.projects.get(name) or Queue(name, "")
        self._put(replace(account, **changes))

    def delete(self, name: str) -> None:
        """Take a project away with its queues. ConflictError while jobs of it wait or run."""
        self._check_there(name)
        live = sum(job.spec.project == name for job in self._board.jobs.values())
        if live:
            raise ConflictError(
                f'project "{name}" still has {live} jobs that wait or run; cancel them, or let'
                " them end, first",
                field="project",
                given=name,
                jobs=live,
            )
        for queue in [q for q in self._board.queues.values() if q.project == name]:
            self._queues.delete(name, queue.name)
        account = self._board.projects.pop(name, None)
        if account is not None:
            self._planner.apply(events.ProjectSet(name))
            self._journal.put_queue(account, gone=True)

    def names(self) -> set[str]:
        """Those that there are."""
        return {queue.project for queue in self._board.queues.values()} | set(self._board.projects)

    def views(self, name: str = "") -> list[ProjectView]:
        """Return one project (empty: all) and how they are used, by name."""
        return [self._view(each) for each in sorted(self.names()) if name in {"", each}]

    def _view(self, name: str) -> ProjectView:
        account = self._board.projects.get(name) or Queue(name, "")
        queues = self._queues.views(name)
        used: dict[str, int] = {}
        for queue in queues:
            for resource, amount in queue.used.items():
                used[resource] = used.get(resource, 0) + amount
        return ProjectView(
            name=name,
            quota=account.quota,
            description=account.description,
            queues=tuple(each.queue.name for each in queues),
            used=used,
            queued_jobs=sum(each.queued_jobs for each in queues),
            running_jobs=sum(each.running_jobs for each in queues),
        )

    def _put(self, account: Queue) -> None:
        # Everything but the name, which no queue may lack.
        check_queue(replace(account, name=DEFAULT_QUEUE))
        self._board.projects[account.project] = account
        self._journal.put_queue(account)
        self._planner.apply(events.ProjectSet(account.project, dict(account.quota)))

    def _check_there(self, name: str) -> None:
        known = self.names()
        if name not in known:
            raise NotFoundError(
                f'project "{name}" does not exist; there are {", ".join(sorted(known)) or "none"}',
                field="project",
                given=name,
                allowed=", ".join(sorted(known)),
            )
