"""What has changed since the last commit, and what must follow the next one."""

from __future__ import annotations

import asyncio
from dataclasses import field
from typing import TYPE_CHECKING

from gridloom.values import dataclass, replace

from gridloom_services.scheduler.store.base import Changes

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom_services.scheduler.board import Board
    from gridloom_services.scheduler.job import Event, GangEnd, Job, LiveGang, Promise, Tries
    from gridloom_services.scheduler.queue import Queue
    from gridloom_services.scheduler.states import JobState


@dataclass(frozen=True, slots=True)
class Change:
    """What a watcher is told: a job as it was after an event."""

    revision: int
    job: Job


@dataclass(slots=True)
class Batch:
    """One transaction, and who waits for it.

    `gangs` is, by name, what the runtime should be brought to once this is on disk.
    """

    changes: Changes = field(default_factory=Changes)
    published: list[Change] = field(default_factory=list)
    gangs: dict[str, LiveGang | None] = field(default_factory=dict)
    waiters: list[asyncio.Future[None]] = field(default_factory=list)

    def acknowledge(self) -> None:
        """Tell everybody that it is on disk."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)

    def fail(self, error: BaseException) -> None:
        """Tell everybody that it is not."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_exception(error)


class Journal:
    """Collects changes in memory until they are taken for a commit.

    Nothing outside this process may be told of a change before its batch was committed.
    """

    def __init__(self, board: Board, on_change: Callable[[], None]) -> None:
        self._board = board
        self._on_change = on_change
        self._batch = Batch()
        # Where among the batch's events the newest of elements is, by job and new state.
        self._last_runs: dict[tuple[int, JobState], int] = {}
        # Arrays whose states changed, with the revision of their last event.
        self._arrays: dict[str, int] = {}

    # ---- jobs and their history

    def put_job(self, job: Job, *, new: bool = False) -> None:
        """Write a job, new or changed, and tell watchers of this copy of it."""
        if new:
            self._batch.changes.added[job.sequence] = job
        else:
            self._batch.changes.put_job(job)
        self._arrays.pop(job.id, None)
        self._batch.published.append(Change(job.revision, job))
        self._on_change()

    def touch_array(self, job: Job, revision: int) -> None:
        """Write an array's states, and tell watchers of them, once when the batch is taken."""
        self._arrays[job.id] = max(revision, self._arrays.get(job.id, 0))
        self._on_change()

    def put_event(self, event: Event) -> int:
        """Write an event and return its revision.

        That is its own, the next one that is free; or that of an earlier event of this batch which
        says the same of the neighbouring elements, and which it becomes part of.
        """
        events = self._batch.changes.events
        key = (event.sequence, event.after)
        last = self._last_runs.get(key)
        if last is not None and _continues(event, events[last]):
            events[last] = replace(events[last], count=events[last].count + event.count)
            return events[last].revision
        self._board.revision = event.revision
        if event.element is not None:
            self._last_runs[key] = len(events)
        events.append(event)
        return event.revision

    # ---- everything else

    def put_gang(self, live: LiveGang) -> None:
        """Write a live gang; the runtime is brought to it after the commit."""
        self._batch.changes.gangs[live.unit] = live
        self._batch.gangs[live.name] = live
        self._on_change()

    def end_gang(self, live: LiveGang, end: GangEnd) -> None:
        """Write that a gang is over; the runtime forgets it after the commit."""
        self._batch.changes.gangs[live.unit] = None
        self._batch.gangs[live.name] = None
        self._batch.changes.ends.append(end)
        self._on_change()

    def put_tries(self, job: Job, element: int, tries: Tries) -> None:
        """Write what was used of an element's retries."""
        self._batch.changes.tries[job.sequence, element] = tries

    def put_queue(self, queue: Queue, *, gone: bool = False) -> None:
        """Write a queue, or take it away."""
        self._batch.changes.queues[queue.project, queue.name] = None if gone else queue
        self._on_change()

    def put_promise(self, key: tuple[str, int], promise: Promise | None) -> None:
        """Write a promise, or take it away."""
        self._batch.changes.promises[key] = promise
        self._on_change()

    # ---- commit

    def committed(self) -> asyncio.Future[None]:
        """Return a future that is done once everything put so far is on disk."""
        future = asyncio.get_running_loop().create_future()
        self._batch.waiters.append(future)
        self._on_change()
        return future

    def take(self) -> Batch:
        """Return what was collected, and begin anew."""
        for job_id, revision in list(self._arrays.items()):
            runs = self._board.runs[job_id].runs()
            job = self._board.jobs[job_id]
            job = replace(job, runs=runs, revision=max(revision, job.revision))
            self._board.put(job)
            self.put_job(job)
        batch, self._batch = self._batch, Batch()
        self._last_runs.clear()
        return batch


def _continues(event: Event, last: Event) -> bool:
    """Say whether an event is the last one's, of the elements that follow."""
    return (
        event.element is not None
        and last.element is not None
        and event.element == last.element + last.count
        and (event.before, event.attempt, event.reason) == (last.before, last.attempt, last.reason)
    )
