"""The job and what belongs to it as frozen values; a change is a copy.

Points in time are whole microseconds since 1970 (UTC), in names that end in `_us`.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any, Self

from gridloom.values import dataclass, replace

from gridloom_services.scheduler.spec import nothing
from gridloom_services.scheduler.states import FailureClass, JobState, check_transition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom_services.scheduler.runs import Run
    from gridloom_services.scheduler.runtime.base import Assignment, OutputFile, StoredStream
    from gridloom_services.scheduler.spec import JobSpec

# A replica within its gang: the role's name and the index.
Member = tuple[str, int]

# The one element of a job that is no array.
ONLY = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended, or the job. All zero: it did not, or well."""

    state: JobState = JobState.SUCCEEDED
    failure_class: FailureClass = FailureClass.NONE
    exit_code: int = 0
    signal: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used: processor time summed, the largest memory of one replica."""

    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.cpu_seconds + other.cpu_seconds,
            max(self.peak_memory_bytes, other.peak_memory_bytes),
        )


@dataclass(frozen=True, slots=True)
class Job:
    """One job as it stands. `sequence` orders all jobs by acceptance.

    `revision` is that of its last event. Of an array, `state` sums up the elements, `attempt` is
    the highest among them, `runs` are their states; `runs` is empty for any other job.
    `time_limit_s` is the one in force: its own or its queue's.
    """

    sequence: int
    id: str
    spec: JobSpec
    owner: str
    state: JobState
    submitted_us: int
    time_limit_s: int
    revision: int = 0
    attempt: int = 0
    queued_us: int | None = None
    started_us: int | None = None
    ended_us: int | None = None
    reason: str = ""
    failure_class: FailureClass = FailureClass.NONE
    exit_code: int = 0
    signal: int = 0
    usage: Usage = Usage()
    retry_of: str = ""
    runs: tuple[Run, ...] = ()
    # Replicas wanted of elastic roles, where they differ from the specification.
    sizes: Mapping[str, int] = field(default_factory=nothing)

    @property
    def is_array(self) -> bool:
        """It has elements."""
        return self.spec.array is not None

    @property
    def queue_key(self) -> str:
        """The queue's name with its project, as the engine knows it."""
        return f"{self.spec.project}/{self.spec.queue}"

    def moved(self, state: JobState, reason: str, now_us: int) -> Self:
        """Return a copy in another state, with the times that belong to it.

        Raises IllegalTransitionError for a change that the table does not have.
        """
        check_transition(self.state, state)
        times: dict[str, Any] = {}
        if state is JobState.QUEUED:
            times["queued_us"] = now_us
        elif state is JobState.RUNNING and self.started_us is None:
            times["started_us"] = now_us
        elif state.is_final:
            times["ended_us"] = now_us
        return replace(self, state=state, reason=reason, **times)

    def concluded(self, outcome: Outcome, now_us: int) -> Self:
        """Return a copy in its final state."""
        return replace(
            self.moved(outcome.state, outcome.reason, now_us),
            failure_class=outcome.failure_class,
            exit_code=outcome.exit_code,
            signal=outcome.signal,
        )


@dataclass(frozen=True, slots=True)
class Tries:
    """What one job or element has used of its retries; stored only once there was one.

    `attempts` have ended so far. It is not started before `not_before_us`. Memory asked is
    multiplied by `memory_factor` (2 after the first out-of-memory retry, then 4, ...).
    """

    attempts: int = 0
    used: Mapping[FailureClass, int] = field(default_factory=nothing)
    not_before_us: int = 0
    memory_factor: int = 1


FRESH = Tries()


@dataclass(frozen=True, slots=True)
class StopOrder:
    """That a gang must end, and what its end then means. Durable before it is acted upon."""

    outcome: Outcome
    grace_s: float


@dataclass(frozen=True, slots=True)
class Elastic:
    """How an elastic role of a gang stands.

    `wanted` replicas are asked for. The next one gets `next_index`: an index is never used twice
    in a gang.
    """

    wanted: int
    next_index: int


@dataclass(frozen=True, slots=True)
class LiveGang:
    """One attempt that the store wants in the runtime: STARTING or RUNNING.

    It is stored, together with its job's new state, before the runtime hears of it. `placement`
    is what occupies the nodes now; replicas in `leaving` are on their way out of it.
    """

    name: str
    sequence: int
    job_id: str
    element: int
    attempt: int
    placement: tuple[Assignment, ...]
    starting_us: int
    stop: StopOrder | None = None
    leaving: frozenset[Member] = frozenset()
    elastic: Mapping[str, Elastic] = field(default_factory=nothing)

    @property
    def unit(self) -> tuple[int, int]:
        """What it is an attempt of: the job's sequence and the element."""
        return self.sequence, self.element

    def staying(self, role: str) -> tuple[Assignment, ...]:
        """Return the role's replicas that should be there."""
        return tuple(
            each
            for each in self.placement
            if each.role == role and (role, each.index) not in self.leaving
        )


@dataclass(frozen=True, slots=True)
class ReplicaEnd:
    """How one replica fared, as kept after the end of its gang.

    `exit_code` is -1 where nobody could learn it. `log_index` is the replica whose logs hold
    this one's output.
    """

    role: str
    index: int
    state: JobState
    node: str
    exit_code: int
    log_index: int
    signal: int = 0
    failure_class: FailureClass = FailureClass.NONE
    reason: str = ""
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class GangOutput:
    """A file brought back, and whose it is."""

    role: str
    index: int
    file: OutputFile


@dataclass(frozen=True, slots=True)
class GangEnd:
    """The record of one ended attempt."""

    sequence: int
    element: int
    attempt: int
    outcome: Outcome
    queued_us: int
    started_us: int | None
    ended_us: int
    usage: Usage
    replicas: tuple[ReplicaEnd, ...] = ()
    outputs: tuple[GangOutput, ...] = ()


@dataclass(frozen=True, slots=True)
class KeptStream:
    """A stream of a gang that is over, in the object store. `size_bytes` is the object's."""

    stored: StoredStream
    size_bytes: int

    @property
    def length(self) -> int:
        """How long the stream is, with what is missing in its middle."""
        return self.size_bytes + self.stored.end - self.stored.first


@dataclass(frozen=True, slots=True)
class Event:
    """One change of a job, or of `count` neighbouring elements from position `element` on.

    `before` is None for the submit. Both states are equal where only the reason is new.
    """

    revision: int
    sequence: int
    job_id: str
    at_us: int
    before: JobState | None
    after: JobState
    attempt: int = 0
    reason: str = ""
    element: int | None = None
    count: int = 1

    def touches(self, element: int | None) -> bool:
        """Say whether it is part of that element's history; None: of the whole job's."""
        if element is None:
            return True
        if self.element is None:
            return self.before is None
        return self.element <= element < self.element + self.count


@dataclass(frozen=True, slots=True)
class Promise:
    """A start that the engine has promised."""

    job_id: str
    element: int
    start_s: int
    placement: tuple[Assignment, ...]


def gang_name(job: Job, element: int, attempt: int) -> str:
    """Return the name of an attempt's gang: "job_x-a2", or "job_x.7-a1" of an element."""
    return f"{element_id(job, element)}-a{attempt}"


def element_id(job: Job, element: int) -> str:
    """Return "job_x.7" for an element of an array (its own number), the job's id otherwise."""
    return job.id if job.spec.array is None else f"{job.id}.{job.spec.array.number(element)}"
