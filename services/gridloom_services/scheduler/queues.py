"""Queues: made, changed, listed and taken away."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gridloom.values import dataclass

from gridloom_services.common.errors import AlreadyExistsError, ConflictError, NotFoundError
from gridloom_services.scheduler.engine import events
from gridloom_services.scheduler.queue import LONGEST_TIME_LIMIT_S, Queue, first_queue
from gridloom_services.scheduler.validation import (
    MAX_PRIORITY,
    check_between,
    check_resources,
    refuse,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom_services.scheduler.board import Board
    from gridloom_services.scheduler.journal import Journal
    from gridloom_services.scheduler.planner import Planner

_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_MAX_DESCRIPTION = 1024


@dataclass(frozen=True, slots=True)
class QueueView:
    """A queue and how it is used now. Jobs are counted, not elements; held ones count as queued."""

    queue: Queue
    used: Mapping[str, int]
    queued_jobs: int
    running_jobs: int


class Queues:
    """Keeps board, engine and journal in step about queues."""

    def __init__(self, board: Board, journal: Journal, planner: Planner) -> None:
        self._board = board
        self._journal = journal
        self._planner = planner

    def begin(self) -> None:
        """Tell the engine of all queues; a platform that has none gets its first."""
        if not self._board.queues:
            self._put(first_queue())
            return
        for queue in self._board.queues.values():
            self._tell(queue)

    def create(self, queue: Queue) -> None:
        """Make a queue. AlreadyExistsError where there is one of that name."""
        check_queue(queue)
        if queue.key in self._board.queues:
            raise AlreadyExistsError(
                f'queue "{queue.name}" of project "{queue.project}" exists',
                field="name",
                given=queue.name,
            )
        self._put(queue)

    def update(self, project: str, name: str, changes: Mapping[str, Any]) -> Queue:
        """Change fields of a queue; what runs in it goes on."""
        queue = replace(self.find(project, name), **changes)
        check_queue(queue)
        self._put(queue)
        return queue

    def delete(self, project: str, name: str) -> None:
        """Take a queue away. ConflictError while jobs of it wait or run."""
        queue = self.find(project, name)
        live = sum(job.queue_key == queue.key for job in self._board.jobs.values())
        if live:
            raise ConflictError(
                f'queue "{name}" of project "{project}" still has {live} jobs that wait or run;'
                " cancel them, or let them end, first",
                field="name",
                given=name,
                jobs=live,
            )
        del self._board.queues[queue.key]
        self._planner.apply(events.QueueRemoved(queue.key))
        self._journal.put_queue(queue, gone=True)

    def find(self, project: str, name: str) -> Queue:
        """Return a queue. NotFoundError names those that there are."""
        queue = self._board.queues.get(f"{project}/{name}")
        if queue is None:
            names = sorted(q.name for q in self._board.queues.values() if q.project == project)
            raise NotFoundError(
                f'queue "{name}" does not exist; queues of project "{project}":'
                f" {', '.join(names) or 'none'}",
                field="name",
                given=name,
                allowed=", ".join(names),
            )
        return queue

    def views(self, project: str = "") -> list[QueueView]:
        """Return the queues of a project (empty: of all) and how they are used, by name."""
        used = self._planner.engine.queues()
        queued: Counter[str] = Counter()
        running: Counter[str] = Counter()
        for job in self._board.jobs.values():
            (running if job.state.is_active else queued)[job.queue_key] += 1
        return [
            QueueView(
                queue,
                dict(used[key].used) if key in used else {},
                queued[key],
                running[key],
            )
            for key, queue in sorted(self._board.queues.items())
            if project in {"", queue.project}
        ]

    def _put(self, queue: Queue) -> None:
        self._board.queues[queue.key] = queue
        self._journal.put_queue(queue)
        self._tell(queue)

    def _tell(self, queue: Queue) -> None:
        self._planner.apply(
            events.QueueSet(queue.key, queue.priority, dict(queue.quota), queue.closed)
        )


def check_queue(queue: Queue) -> None:
    """Refuse a queue that cannot be."""
    for field, value in (("project", queue.project), ("name", queue.name)):
        if not _NAME.fullmatch(value):
            refuse(field, value, "at most 63 lower-case letters, digits and inner -")
    check_resources(queue.quota, "quota", least_cpu=0)
    check_between("priority", queue.priority, -MAX_PRIORITY, MAX_PRIORITY)
    check_between("max_time_limit", queue.max_time_limit_s, 0, LONGEST_TIME_LIMIT_S, "s")
    check_between("default_time_limit", queue.default_time_limit_s, 1, queue.longest_s, "s")
    if len(queue.description) > _MAX_DESCRIPTION:
        refuse("description", queue.description, f"at most {_MAX_DESCRIPTION} characters")
