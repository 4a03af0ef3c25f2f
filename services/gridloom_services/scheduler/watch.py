"""Changes as they are committed, for whoever follows them from a revision on."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from gridloom_services.common.errors import ConflictError, InvalidRequestError
from gridloom_services.scheduler.journal import Change
from gridloom_services.scheduler.states import FailureClass, JobState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from gridloom_services.scheduler.job import Event, Job
    from gridloom_services.scheduler.store.base import Store

RING = 4096
PAGE = 1000


class Pulse:
    """Wakes everybody who waits for the next beat."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def beat(self) -> None:
        """Wake them."""
        self._next.set()
        self._next = asyncio.Event()

    def event(self) -> asyncio.Event:
        """Return what the next beat sets. Take it before looking at what the beat is about."""
        return self._next


class WatchHub:
    """Hands out committed changes by revision.

    The newest are kept in memory; who is further behind reads the store, so a slow reader costs
    nothing but its own reading and loses nothing.
    """

    def __init__(self, store: Store, revision: int) -> None:
        self._store = store
        self._ring: deque[Change] = deque(maxlen=RING)
        # Everything above this revision that was committed is in the ring.
        self._floor = revision
        self.revision = revision
        self._pulse = Pulse()

    def publish(self, changes: Sequence[Change], revision: int) -> None:
        """Hand out changes that are on disk; `revision` is the newest that is."""
        for change in sorted(changes, key=lambda each: each.revision):
            if len(self._ring) == RING:
                self._floor = self._ring[0].revision
            self._ring.append(change)
        self.revision = max(self.revision, revision)
        self._pulse.beat()

    async def check(self, revision: int) -> None:
        """Refuse a revision from which nobody can go on."""
        if revision > self.revision:
            raise InvalidRequestError(
                f"revision {revision} is to come; the newest is {self.revision}",
                field="from_revision",
                given=revision,
                allowed=f"at most {self.revision}",
            )
        compacted = await self._store.compacted()
        if revision < compacted:
            raise ConflictError(
                f"changes after revision {revision} are not kept any more, only those after"
                f" {compacted}: begin anew with the present state (revision 0)",
                field="from_revision",
                given=revision,
                allowed=f"0, or at least {compacted}",
            )

    async def follow(self, revision: int) -> AsyncIterator[list[Change]]:
        """Yield all changes above a revision for ever, oldest first, as they come."""
        while True:
            news = self._pulse.event()
            if revision < self._floor:
                revision, changes = await self._from_store(revision)
            else:
                changes = self._from_ring(revision)
                revision = changes[-1].revision if changes else revision
            if changes:
                yield changes
            elif revision >= self._floor:
                await news.wait()

    def _from_ring(self, revision: int) -> list[Change]:
        ring = list(self._ring)
        return ring[bisect_right(ring, revision, key=lambda each: each.revision) :]

    async def _from_store(self, revision: int) -> tuple[int, list[Change]]:
        events = await self._store.events_after(revision, PAGE)
        if not events:
            return self._floor, []
        jobs = await self._store.jobs(frozenset(event.job_id for event in events))
        return events[-1].revision, _changes(events, jobs)


def _changes(events: list[Event], jobs: dict[str, Job]) -> list[Change]:
    """Return what past events said; of an array only the last counts, with its present state."""
    last = {event.job_id: event.revision for event in events}
    found = []
    for event in events:
        job = jobs[event.job_id]
        if not job.is_array:
            found.append(Change(event.revision, as_it_was(job, event)))
        elif last[event.job_id] == event.revision:
            found.append(Change(event.revision, replace(job, revision=event.revision)))
    return found


def as_it_was(job: Job, event: Event) -> Job:
    """Return a job as it stood after an event of its past, as far as the event tells."""
    if event.revision == job.revision:
        return job
    past = replace(
        job,
        state=event.after,
        attempt=event.attempt,
        reason=event.reason,
        revision=event.revision,
    )
    if event.after.is_final:
        return past
    past = replace(past, ended_us=None, failure_class=FailureClass.NONE, exit_code=0, signal=0)
    return past if event.after is JobState.RUNNING else replace(past, started_us=None)
