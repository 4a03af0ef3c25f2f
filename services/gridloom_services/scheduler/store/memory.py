"""The store's in-memory twin: it survives a scheduler, not the process."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from gridloom_services.scheduler.job import gang_name
from gridloom_services.scheduler.store.base import BEGINNING, Changes, Contents, Place, Unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gridloom_services.scheduler.job import (
        Event,
        GangEnd,
        Job,
        KeptStream,
        LiveGang,
        Promise,
        Tries,
    )
    from gridloom_services.scheduler.query import JobQuery
    from gridloom_services.scheduler.queue import Queue

K = TypeVar("K")
V = TypeVar("V")


def _merge(rows: dict[K, V], changes: Mapping[K, V | None]) -> None:
    for key, value in changes.items():
        if value is None:
            rows.pop(key, None)
        else:
            rows[key] = value


class MemoryStore:
    """A `Store` of dictionaries."""

    def __init__(self) -> None:
        self._jobs: dict[int, Job] = {}
        self._ids: dict[str, int] = {}
        self._gangs: dict[Unit, LiveGang] = {}
        self._ends: dict[tuple[int, int, int], GangEnd] = {}
        self._tries: dict[Unit, Tries] = {}
        self._queues: dict[tuple[str, str], Queue] = {}
        self._promises: dict[tuple[str, int], Promise] = {}
        self._events: dict[int, Event] = {}
        self._streams: dict[tuple[str, str], KeptStream] = {}
        self._compacted = 0
        self._leavings: set[str] = set()

    async def load(self) -> Contents:
        """Return everything that is not over."""
        live = {key: job for key, job in sorted(self._jobs.items()) if not job.state.is_final}
        return Contents(
            jobs=tuple(live.values()),
            gangs=tuple(self._gangs.values()),
            tries={unit: tries for unit, tries in self._tries.items() if unit[0] in live},
            queues=tuple(self._queues.values()),
            promises=tuple(self._promises.values()),
            sequence=max(self._jobs, default=0),
            revision=max([self._compacted, *self._events]),
        )

    async def write(self, changes: Changes) -> None:
        """Take the changes over."""
        for sequence, job in (changes.added | changes.changed).items():
            self._jobs[sequence] = job
            self._ids[job.id] = sequence
        _merge(self._gangs, changes.gangs)
        _merge(self._queues, changes.queues)
        _merge(self._promises, changes.promises)
        self._tries.update(changes.tries)
        self._ends.update({(e.sequence, e.element, e.attempt): e for e in changes.ends})
        self._events.update({event.revision: event for event in changes.events})

    async def jobs(self, job_ids: frozenset[str]) -> dict[str, Job]:
        """Return those that exist."""
        return {each: self._jobs[self._ids[each]] for each in job_ids & self._ids.keys()}

    async def requests(self, project: str, request_ids: frozenset[str]) -> dict[str, Job]:
        """Return the jobs that these requests made."""
        wanted = request_ids - {""}
        return {
            job.spec.request_id: job
            for job in self._jobs.values()
            if job.spec.project == project and job.spec.request_id in wanted
        }

    async def page(self, query: JobQuery, before: int | None, limit: int) -> list[Job]:
        """Return the newest first."""
        newest = (self._jobs[key] for key in sorted(self._jobs, reverse=True))
        found = (
            job
            for job in newest
            if (before is None or job.sequence < before) and query.matches(job)
        )
        return list(islice(found, limit))

    async def ends(self, sequence: int, element: int | None = None) -> list[GangEnd]:
        """Return ended attempts."""
        return [
            end
            for key, end in sorted(self._ends.items())
            if key[0] == sequence and element in {None, key[1]}
        ]

    async def last_ends(self, sequences: frozenset[int]) -> dict[int, GangEnd]:
        """Return each job's newest ended attempt."""
        return {
            key[0]: end
            for key, end in sorted(self._ends.items())
            if key[0] in sequences and key[1] == 0
        }

    async def history(
        self, sequence: int, after: int, limit: int, element: int | None = None
    ) -> list[Event]:
        """Return a job's events."""
        found = (
            event
            for event in await self.events_after(after, len(self._events))
            if event.sequence == sequence and event.touches(element)
        )
        return list(islice(found, limit))

    async def events_after(self, revision: int, limit: int) -> list[Event]:
        """Return all jobs' events."""
        return [event for key, event in sorted(self._events.items()) if key > revision][:limit]

    async def keep_streams(self, gang: str, streams: Mapping[str, KeptStream]) -> None:
        """Keep where streams are."""
        self._streams |= {(gang, name): kept for name, kept in streams.items()}

    async def kept_stream(self, gang: str, name: str) -> KeptStream | None:
        """Return where a stream is."""
        return self._streams.get((gang, name))

    async def compacted(self) -> int:
        """Return the newest revision that is gone."""
        return self._compacted

    async def compact(self, before_us: int, limit: int, after: Place = BEGINNING) -> Place | None:
        """Let go of events of jobs long over."""
        ended = {sequence: job.ended_us for sequence, job in self._jobs.items()}
        old = [
            ((ended_us, event.sequence), revision)
            for revision, event in self._events.items()
            if (ended_us := ended[event.sequence]) is not None and ended_us < before_us
        ]
        gone = sorted(each for each in old if each[0] > after)[:limit]
        for _, revision in gone:
            del self._events[revision]
            self._compacted = max(self._compacted, revision)
        return after if len(gone) == limit else None

    async def horizon(self, before_us: int, most: int) -> int:
        """Return when jobs must have ended to go."""
        ended = sorted((job.ended_us for job in self._jobs.values() if job.ended_us), reverse=True)
        return max(before_us, ended[most] + 1) if len(ended) > most else before_us

    async def prune(self, before_us: int, limit: int, spared: frozenset[str]) -> int:
        """Remove whole jobs, until there are so many rows."""
        removed = 0
        for job in sorted(self._jobs.values(), key=lambda job: (job.ended_us or 0, job.sequence)):
            is_old = job.ended_us is not None and job.ended_us < before_us and job.state.is_final
            is_kept = job.id in spared or job.sequence == max(self._jobs)
            if is_old and not is_kept and removed < limit:
                removed += self._remove(job)
        return removed

    def _remove(self, job: Job) -> int:
        ends = [key for key in self._ends if key[0] == job.sequence]
        gangs = {gang_name(job, element, attempt) for _, element, attempt in ends}
        revisions = [each.revision for each in self._events.values() if each.job_id == job.id]
        for end in ends:
            del self._ends[end]
        for revision in revisions:
            del self._events[revision]
        self._streams = {key: kept for key, kept in self._streams.items() if key[0] not in gangs}
        self._tries = {key: each for key, each in self._tries.items() if key[0] != job.sequence}
        self._compacted = max([self._compacted, *revisions])
        del self._jobs[job.sequence], self._ids[job.id]
        self._leavings.add(job.id)
        return len(ends) + len(revisions) + 1

    async def leavings(self, limit: int) -> list[str]:
        """Return jobs that are gone and have left something elsewhere."""
        return sorted(self._leavings)[:limit]

    async def cleared(self, job_ids: Sequence[str]) -> None:
        """Take note that nothing of these is left."""
        self._leavings -= set(job_ids)
