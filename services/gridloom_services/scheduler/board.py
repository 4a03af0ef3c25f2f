"""What the scheduler holds in memory: everything that is not over."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import field
from typing import TYPE_CHECKING

from gridloom.values import dataclass

from gridloom_services.scheduler.job import FRESH, ONLY, Job, LiveGang, Member, Tries
from gridloom_services.scheduler.runs import Run, RunLength
from gridloom_services.scheduler.states import JobState

if TYPE_CHECKING:
    from gridloom_services.scheduler.queue import Queue
    from gridloom_services.scheduler.runtime.base import ReplicaStatus
    from gridloom_services.scheduler.store.base import Contents, Unit


@dataclass(slots=True)
class GangState:
    """A live gang and what is known of its replicas, departed ones included."""

    live: LiveGang
    statuses: dict[Member, ReplicaStatus] = field(default_factory=dict)


class Board:
    """Live jobs, their gangs, queues, and the indices to find them by.

    Plain data: whoever changes a job's state does so through the `Ledger`.
    """

    def __init__(self, contents: Contents) -> None:
        self.jobs: dict[str, Job] = {}
        self.ids: dict[int, str] = {}
        self.requests: dict[tuple[str, str], str] = {}
        self.runs: dict[str, RunLength] = {}
        self.gangs: dict[str, GangState] = {}
        self.units: dict[Unit, GangState] = {}
        self.queues: dict[str, Queue] = {q.key: q for q in contents.queues if q.name}
        # What is said of a project itself: it is stored as a queue without a name.
        self.projects: dict[str, Queue] = {q.project: q for q in contents.queues if not q.name}
        # How many jobs are in each state that is not final.
        self.counts: Counter[JobState] = Counter()
        self.sequence = contents.sequence
        self.revision = contents.revision
        # By job: what its elements have used of their retries, and which of them rest before one.
        self._tries: defaultdict[str, dict[int, Tries]] = defaultdict(dict)
        self.resting: defaultdict[str, set[int]] = defaultdict(set)
        for job in contents.jobs:
            self.put(job)
        for (sequence, element), tries in contents.tries.items():
            self._tries[self.ids[sequence]][element] = tries
        for live in contents.gangs:
            self.put_gang(live)

    def put(self, job: Job) -> None:
        """Take a live job in, or its changed copy; a final one leaves."""
        known = self.jobs.get(job.id)
        if known is not None:
            self.counts[known.state] -= 1
        if job.state.is_final:
            self._remove(job)
            return
        self.counts[job.state] += 1
        if known is None:
            self.ids[job.sequence] = job.id
            if job.spec.request_id:
                self.requests[job.spec.project, job.spec.request_id] = job.id
            if job.is_array:
                self.runs[job.id] = RunLength(job.runs)
        self.jobs[job.id] = job

    def _remove(self, job: Job) -> None:
        self.jobs.pop(job.id, None)
        self.ids.pop(job.sequence, None)
        self.requests.pop((job.spec.project, job.spec.request_id), None)
        self.runs.pop(job.id, None)
        self._tries.pop(job.id, None)
        self.resting.pop(job.id, None)

    def put_gang(self, live: LiveGang) -> GangState:
        """Take a live gang in, or its changed copy."""
        known = self.gangs.get(live.name)
        if known is None:
            known = GangState(live)
            self.gangs[live.name] = self.units[live.unit] = known
        known.live = live
        return known

    def remove_gang(self, live: LiveGang) -> None:
        """Let go of a gang that is over."""
        del self.gangs[live.name], self.units[live.unit]

    def state(self, job: Job, element: int) -> JobState:
        """Return the state of an element, or of a job that is no array."""
        return self.runs[job.id][element] if job.is_array else job.state

    def tries(self, job: Job, element: int) -> Tries:
        """Return what an element has used of its retries."""
        found = self._tries.get(job.id)
        return found.get(element, FRESH) if found else FRESH

    def tries_of(self, job: Job) -> list[tuple[int, Tries]]:
        """Return what a job's elements have used of their retries, where there was one."""
        return sorted(self._tries.get(job.id, {}).items())

    def put_tries(self, job: Job, element: int, tries: Tries) -> None:
        """Take note of a retry."""
        self._tries[job.id][element] = tries

    def waiting(self, job: Job, *states: JobState) -> list[Run]:
        """Return the elements (of no array: the job itself) that are in these states."""
        if job.is_array:
            return self.runs[job.id].select(states)
        return [Run(ONLY, 1, job.state)] if job.state in states else []

    def grown(self, job: Job) -> set[int]:
        """Return the elements that ask for more memory than the others."""
        found = self._tries.get(job.id, {})
        return {element for element, tries in found.items() if tries.memory_factor > 1}

    def gangs_of(self, job: Job) -> list[GangState]:
        """Return a job's live gangs, by element."""
        if not job.is_array:
            only = self.units.get((job.sequence, 0))
            return [only] if only else []
        active = self.runs[job.id].select({JobState.STARTING, JobState.RUNNING})
        elements = (element for run in active for element in range(run.first, run.end))
        return [self.units[job.sequence, element] for element in elements]
