"""What the platform says about a job, as plain frozen values. `read_job` makes them of messages."""

from __future__ import annotations

from dataclasses import field
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from gridloom.api.scheduler.v1 import job_pb2, scheduler_pb2
from gridloom.jobs.states import FailureClass, JobState, PendingReason
from gridloom.jobs.times import moment_in, seconds_in
from gridloom.values import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


@dataclass(frozen=True, slots=True)
class ReplicaInfo:
    """One process of a gang."""

    role: str
    index: int
    state: JobState
    node: str
    exit_code: int
    signal: int | None
    cpu_seconds: float
    peak_memory_bytes: int
    failure_class: FailureClass | None
    reason: str


@dataclass(frozen=True, slots=True)
class OutputInfo:
    """One file that a job has left."""

    role: str
    index: int
    element: int
    path: str
    digest: str
    size_bytes: int
    mode: int


@dataclass(frozen=True, slots=True)
class StateRun:
    """Consecutive elements of an array, by position, that are in the same state."""

    first: int
    count: int
    state: JobState


@dataclass(frozen=True, slots=True)
class RoleInfo:
    """What was asked for a role."""

    name: str
    command: tuple[str, ...]
    replicas: int
    resources: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class JobInfo:
    """A job at one moment. Times are in UTC; `elements` is 0 for what is not an array."""

    id: str
    name: str
    project: str
    queue: str
    owner: str
    kind: str
    state: JobState
    reason: str
    priority: int
    attempt: int
    revision: int
    labels: Mapping[str, str]
    roles: tuple[RoleInfo, ...]
    time_limit_s: float | None
    submitted_at: datetime | None
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    failure_class: FailureClass | None
    exit_code: int | None
    signal: int | None
    cpu_seconds: float
    peak_memory_bytes: int
    retry_of: str
    elements: int = 0
    element: int | None = None
    runs: tuple[StateRun, ...] = ()
    ranges: tuple[tuple[int, int, int], ...] = ()
    replicas: tuple[ReplicaInfo, ...] = field(default=(), repr=False)
    outputs: tuple[OutputInfo, ...] = field(default=(), repr=False)

    def age_s(self, now: datetime | None = None) -> float:
        """Seconds since it was submitted."""
        if self.submitted_at is None:
            return 0.0
        return ((now or datetime.now(UTC)) - self.submitted_at).total_seconds()

    def run_s(self, now: datetime | None = None) -> float | None:
        """Seconds that it ran, or has been running; None before it starts."""
        if self.started_at is None:
            return None
        return ((self.ended_at or now or datetime.now(UTC)) - self.started_at).total_seconds()

    def counts(self) -> dict[JobState, int]:
        """How many elements of an array are in each state."""
        found: dict[JobState, int] = {}
        for run in self.runs:
            found[run.state] = found.get(run.state, 0) + run.count
        return found

    def numbers(self) -> Iterator[int]:
        """The elements' own numbers, in the order of their positions."""
        for first, last, step in self.ranges:
            yield from range(first, last + 1, step)

    def state_of(self, number: int) -> JobState | None:
        """The state of the element with this number; None where there is none."""
        position = 0
        for first, last, step in self.ranges:
            numbers = range(first, last + 1, step)
            if number in numbers:
                position += numbers.index(number)
                break
            position += len(numbers)
        else:
            return None
        return next((r.state for r in self.runs if r.first <= position < r.first + r.count), None)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a job waits, and behind what. `asked` and `available` are of `resource`."""

    reason: PendingReason
    message: str
    resource: str = ""
    asked: int = 0
    available: int = 0
    ahead: tuple[str, ...] = ()
    ahead_count: int = 0
    promised_start: datetime | None = None

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One change of a job's state, as the durable history has it."""

    job_id: str
    revision: int
    at: datetime | None
    from_state: JobState | None
    to_state: JobState
    attempt: int
    reason: str
    element: int | None = None


@dataclass(frozen=True, slots=True)
class JobChange:
    """What a watch says: the job as it is now. A `snapshot` is the present state, no change."""

    revision: int
    job: JobInfo
    snapshot: bool


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """A queue of a project: its limits and what is in it."""

    name: str
    project: str
    priority: int
    closed: bool
    description: str
    quota: Mapping[str, int]
    used: Mapping[str, int]
    default_time_limit_s: float | None
    max_time_limit_s: float | None
    queued_jobs: int
    running_jobs: int


@dataclass(frozen=True, slots=True)
class ProjectInfo:
    """A project: what its queues may hold together, and what they do."""

    name: str
    description: str
    quota: Mapping[str, int]
    used: Mapping[str, int]
    queues: tuple[str, ...]
    queued_jobs: int
    running_jobs: int


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A machine: what it has and what of that is free."""

    name: str
    capacity: Mapping[str, int]
    free: Mapping[str, int]
    labels: Mapping[str, str]
    schedulable: bool
    oversubscribed: bool


def read_project(project: scheduler_pb2.Project) -> ProjectInfo:
    """The project in this message."""
    return ProjectInfo(
        name=project.name,
        description=project.description,
        quota=dict(project.quota),
        used=dict(project.used),
        queues=tuple(project.queues),
        queued_jobs=project.queued_jobs,
        running_jobs=project.running_jobs,
    )


def read_job(job: job_pb2.Job) -> JobInfo:
    """The job in this message."""
    spec, state = job.spec, read_state(job.state)
    has_code = state.is_final and (job.HasField("started_at") or job.exit_code != 0)
    return JobInfo(
        id=job.id,
        name=spec.name,
        project=spec.project,
        queue=spec.queue,
        owner=job.owner,
        kind=spec.kind,
        state=state,
        reason=job.reason,
        priority=spec.priority,
        attempt=job.attempt,
        revision=job.revision,
        labels=dict(spec.labels),
        roles=tuple(_read_role(role) for role in spec.roles),
        time_limit_s=seconds_in(spec, "time_limit"),
        submitted_at=moment_in(job, "submitted_at"),
        queued_at=moment_in(job, "queued_at"),
        started_at=moment_in(job, "started_at"),
        ended_at=moment_in(job, "ended_at"),
        failure_class=_read_failure(job.failure_class),
        exit_code=job.exit_code if has_code else None,
        signal=job.signal or None,
        cpu_seconds=job.cpu_seconds,
        peak_memory_bytes=job.peak_memory_bytes,
        retry_of=job.retry_of,
        **_array_fields(job),
        replicas=tuple(_read_replica(replica) for replica in job.replicas),
        outputs=tuple(_read_output(output) for output in job.outputs),
    )


def read_new_jobs(jobs: Iterable[job_pb2.Job]) -> list[JobInfo]:
    """As `read_job` of each. What those say in the same words that came together is read once."""
    alike: dict[bytes, JobInfo] = {}
    return [_read_new(job, alike) for job in jobs]


def _read_new(job: job_pb2.Job, alike: dict[bytes, JobInfo]) -> JobInfo:
    if len(job.spec.roles) != 1:
        return read_job(job)
    key = _words_in_common(job)
    first = alike.get(key)
    if first is None:
        found = alike[key] = read_job(job)
        return found
    role = first.roles[0]
    command, resources = tuple(job.spec.roles[0].command), dict(role.resources)
    return replace(
        first,
        id=job.id,
        revision=job.revision,
        submitted_at=moment_in(job, "submitted_at"),
        queued_at=moment_in(job, "queued_at"),
        labels=dict(first.labels),
        roles=(replace(role, command=command, resources=resources),),
    )


def _words_in_common(job: job_pb2.Job) -> bytes:
    """All that is said of a job with one role but what each new one has of its own."""
    rest = job_pb2.Job()
    rest.CopyFrom(job)
    for own in ("id", "revision", "submitted_at", "queued_at"):
        rest.ClearField(own)
    rest.spec.ClearField("request_id")
    rest.spec.roles[0].ClearField("command")
    return rest.SerializeToString()


@cache
def read_state(number: int) -> JobState:
    """The state with this number."""
    return JobState(job_pb2.JobState.Name(number).removeprefix("JOB_STATE_"))  # type: ignore[arg-type]


def read_explanation(answer: scheduler_pb2.ExplainJobResponse) -> Explanation:
    """Why it waits; a reason that is newer than this client is `OTHER`, with its message."""
    name = scheduler_pb2.PendingReason.Name(answer.reason).removeprefix("PENDING_REASON_")
    return Explanation(
        reason=PendingReason(name) if name in PendingReason.__members__ else PendingReason.OTHER,
        message=answer.message,
        resource=answer.resource,
        asked=answer.asked,
        available=answer.available,
        ahead=tuple(answer.ahead),
        ahead_count=answer.ahead_count,
        promised_start=moment_in(answer, "promised_start"),
    )


def read_event(event: job_pb2.JobEvent) -> JobEvent:
    """The event in this message."""
    return JobEvent(
        job_id=event.job_id,
        revision=event.revision,
        at=moment_in(event, "at"),
        from_state=read_state(event.from_state) if event.from_state else None,
        to_state=read_state(event.to_state),
        attempt=event.attempt,
        reason=event.reason,
        element=event.element if event.HasField("element") else None,
    )


def read_queue(queue: scheduler_pb2.Queue) -> QueueInfo:
    """The queue in this message."""
    return QueueInfo(
        name=queue.name,
        project=queue.project,
        priority=queue.priority,
        closed=queue.closed,
        description=queue.description,
        quota=dict(queue.quota),
        used=dict(queue.used),
        default_time_limit_s=seconds_in(queue, "default_time_limit"),
        max_time_limit_s=seconds_in(queue, "max_time_limit"),
        queued_jobs=queue.queued_jobs,
        running_jobs=queue.running_jobs,
    )


def read_node(node: scheduler_pb2.Node) -> NodeInfo:
    """The node in this message."""
    return NodeInfo(
        name=node.name,
        capacity=dict(node.capacity),
        free=dict(node.free),
        labels=dict(node.labels),
        schedulable=node.schedulable,
        oversubscribed=node.oversubscribed,
    )


def _array_fields(job: job_pb2.Job) -> dict[str, Any]:
    runs = tuple(StateRun(r.first, r.count, read_state(r.state)) for r in job.array.runs)
    return {
        "elements": job.array.size,
        "element": job.element if job.HasField("element") else None,
        "runs": runs,
        "ranges": tuple((r.first, r.last, r.step or 1) for r in job.spec.array.ranges),
    }


def _read_role(role: job_pb2.Role) -> RoleInfo:
    return RoleInfo(role.name, tuple(role.command), role.replicas, dict(role.resources))


@cache
def _read_failure(number: int) -> FailureClass | None:
    name = job_pb2.FailureClass.Name(number).removeprefix("FAILURE_CLASS_")  # type: ignore[arg-type]
    return FailureClass(name) if number else None


def _read_replica(replica: job_pb2.Replica) -> ReplicaInfo:
    return ReplicaInfo(
        role=replica.role,
        index=replica.index,
        state=read_state(replica.state),
        node=replica.node,
        exit_code=replica.exit_code,
        signal=replica.signal or None,
        cpu_seconds=replica.cpu_seconds,
        peak_memory_bytes=replica.peak_memory_bytes,
        failure_class=_read_failure(replica.failure_class),
        reason=replica.reason,
    )


def _read_output(output: job_pb2.OutputFile) -> OutputInfo:
    return OutputInfo(
        role=output.role,
        index=output.index,
        element=output.element,
        path=output.path,
        digest=output.object.digest,
        size_bytes=output.object.size_bytes,
        mode=output.mode or 0o644,
    )
