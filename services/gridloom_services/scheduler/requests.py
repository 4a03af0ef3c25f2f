"""What clients ask, as values; what has none (an unknown enum number) is refused by its field."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, TypeVar

from gridloom.api.scheduler.v1 import job_pb2
from gridloom.values import replace

from gridloom_services.scheduler.clock import SECOND_US
from gridloom_services.scheduler.logs import BOTH, LogQuery
from gridloom_services.scheduler.query import JobQuery
from gridloom_services.scheduler.queue import DEFAULT_QUEUE, Queue
from gridloom_services.scheduler.runtime.base import InputFile, LogStream, Secret, Volume
from gridloom_services.scheduler.selector import parse_selector
from gridloom_services.scheduler.spec import (
    DEFAULT_RETRIES,
    DEFAULT_RETRY,
    ArraySpec,
    Condition,
    Dependency,
    JobSpec,
    Range,
    RetryPolicy,
    Role,
    nothing,
    shared_mapping,
)
from gridloom_services.scheduler.states import FailureClass, JobState
from gridloom_services.scheduler.validation import check_between, refuse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp
    from gridloom.api.scheduler.v1 import scheduler_pb2

E = TypeVar("E", bound=enum.IntEnum)

DEFAULT_CPU = 1000
DEFAULT_GRACE_S = 10.0
LONGEST_GRACE_S = 24 * 3600
_LARGEST = (1 << 63) - 1
_STREAMS = {0: BOTH, 1: (LogStream.STDOUT,), 2: (LogStream.STDERR,)}
_NANOS_A_MICROSECOND = 1000


class SpecReader:
    """Reads the specifications of one request.

    Jobs that come together are mostly alike: what several of them say in the same words becomes
    one object, which is then looked at once. Those that differ by their command alone are read as
    the first of them with another command.
    """

    def __init__(self) -> None:
        self._retries: dict[bytes, RetryPolicy] = {}
        self._alike: dict[tuple[str, bytes], JobSpec] = {}

    def read(self, message: job_pb2.JobSpec, project: str, at: str) -> JobSpec:
        """Return the specification in a message; `project` is the one it is for."""
        if len(message.roles) != 1:
            return self._read(message, project, at)
        key = project, _words_in_common(message)
        first = self._alike.get(key)
        if first is None:
            found = self._alike[key] = self._read(message, project, at)
            return found
        role = replace(first.roles[0], command=tuple(message.roles[0].command))
        return replace(first, request_id=message.request_id, roles=(role,))

    def _read(self, message: job_pb2.JobSpec, project: str, at: str) -> JobSpec:
        has = message.HasField
        return JobSpec(
            project=project,
            queue=message.queue or DEFAULT_QUEUE,
            roles=tuple([_role_of(role, alone=len(message.roles) == 1) for role in message.roles]),
            name=message.name,
            priority=message.priority,
            kind=message.kind or "command",
            array=_array_of(message.array) if has("array") else None,
            dependencies=tuple([_dependency_of(each, at) for each in message.dependencies]),
            retry=self._retry(message.retry, at) if has("retry") else DEFAULT_RETRY,
            time_limit_s=whole_seconds(message.time_limit) if has("time_limit") else None,
            start_after_us=_moment(message.start_after) if has("start_after") else None,
            deadline_us=_moment(message.deadline) if has("deadline") else None,
            labels=_mapping_of(message.labels),
            request_id=message.request_id,
            hold=message.hold,
        )

    def _retry(self, message: job_pb2.RetryPolicy, at: str) -> RetryPolicy:
        words = message.SerializeToString()
        found = self._retries.get(words)
        if found is None:
            found = self._retries[words] = _retry_of(message, at)
        return found


def _words_in_common(message: job_pb2.JobSpec) -> bytes:
    """Return all that a job with one role says but its request's id and its command."""
    rest = job_pb2.JobSpec()
    rest.CopyFrom(message)
    rest.ClearField("request_id")
    rest.roles[0].ClearField("command")
    return rest.SerializeToString()


def _role_of(message: job_pb2.Role, *, alone: bool) -> Role:
    replicas = message.replicas or 1
    resources = dict(message.resources)
    resources.setdefault("cpu", DEFAULT_CPU)
    return Role(
        name=message.name or ("main" if alone else ""),
        command=tuple(message.command),
        replicas=replicas,
        min_replicas=message.min_replicas or replicas,
        elastic=message.min_replicas != 0,
        colocate=message.colocate,
        per_node=message.per_node,
        image=message.image,
        env=_mapping_of(message.env),
        files=tuple([_file_of(file) for file in message.files]),
        outputs=tuple(message.outputs),
        volumes=tuple([Volume(v.claim, v.mount_path, v.read_only) for v in message.volumes]),
        secrets=tuple([Secret(s.name, s.key, s.target) for s in message.secrets]),
        resources=shared_mapping(resources),
        workdir=message.workdir,
        stdin=_stdin_of(message),
    )


def _mapping_of(message: Mapping[str, str]) -> Mapping[str, str]:
    return shared_mapping(dict(message)) if message else nothing()


def _file_of(message: job_pb2.InputFile) -> InputFile:
    return InputFile(
        message.path, message.object.digest, message.object.size_bytes, message.mode or 0o644
    )


def _stdin_of(message: job_pb2.Role) -> InputFile | None:
    if not message.HasField("stdin"):
        return None
    return InputFile("", message.stdin.digest, message.stdin.size_bytes)


def _array_of(message: job_pb2.ArraySpec) -> ArraySpec:
    ranges = tuple(Range(each.first, each.last, each.step or 1) for each in message.ranges)
    return ArraySpec(ranges, message.max_parallel)


def _dependency_of(message: job_pb2.Dependency, at: str) -> Dependency:
    condition = member(Condition, message.condition, f"{at}dependencies.condition")
    return Dependency(message.job_id, condition)


def _retry_of(message: job_pb2.RetryPolicy, at: str) -> RetryPolicy:
    rules = {
        member(FailureClass, rule.failure_class, f"{at}retry.rules.failure_class"): rule.retries
        for rule in message.rules
    }
    if FailureClass.NONE in rules:
        refuse(f"{at}retry.rules.failure_class", 0, "a class of failure")
    backoff_us = DEFAULT_RETRY.backoff_us
    if message.HasField("backoff"):
        backoff_us = _microseconds(message.backoff)
    max_backoff_us = max(DEFAULT_RETRY.max_backoff_us, backoff_us)
    if message.HasField("max_backoff"):
        max_backoff_us = _microseconds(message.max_backoff)
    return RetryPolicy(shared_mapping({**DEFAULT_RETRIES, **rules}), backoff_us, max_backoff_us)


def member(kind: type[E], number: int, field: str) -> E:
    """Return the member of an enum with this number."""
    try:
        return kind(number)
    except ValueError:
        refuse(field, number, ", ".join(f"{each.name} ({each.value})" for each in kind))


def query_of(message: scheduler_pb2.JobFilter) -> JobQuery:
    """Return what a filter asks for."""
    return JobQuery(
        project=message.project,
        queue=message.queue,
        owner=message.owner,
        kind=message.kind,
        states=frozenset(member(JobState, each, "filter.states") for each in message.states),
        labels=parse_selector(message.label_selector),
        job_ids=frozenset(each.partition(".")[0] for each in message.job_ids),
    )


def whole_seconds(message: Duration) -> int:
    """Return a duration in seconds, rounded up."""
    return message.seconds + (1 if message.nanos > 0 else 0)


def _microseconds(message: Duration) -> int:
    return message.seconds * SECOND_US + message.nanos // _NANOS_A_MICROSECOND


def _moment(message: Timestamp) -> int:
    return message.seconds * SECOND_US + message.nanos // _NANOS_A_MICROSECOND


def queue_of(message: scheduler_pb2.Queue, project: str) -> Queue:
    """Return the queue in a message; what is not set is as in a new queue."""
    queue = Queue(project, message.name)
    default_s = queue.default_time_limit_s
    most_s = whole_seconds(message.max_time_limit)
    if most_s:
        default_s = min(default_s, most_s)
    return Queue(
        project=project,
        name=message.name,
        quota=shared_mapping(message.quota),
        default_time_limit_s=whole_seconds(message.default_time_limit) or default_s,
        max_time_limit_s=most_s,
        closed=message.closed,
        priority=message.priority,
        description=message.description,
    )


def queue_changes_of(request: scheduler_pb2.UpdateQueueRequest) -> dict[str, Any]:
    """Return the fields to change, by the names of `Queue`'s."""
    queue = request.queue
    values: dict[str, tuple[str, Any]] = {
        "quota": ("quota", shared_mapping(queue.quota)),
        "default_time_limit": ("default_time_limit_s", whole_seconds(queue.default_time_limit)),
        "max_time_limit": ("max_time_limit_s", whole_seconds(queue.max_time_limit)),
        "closed": ("closed", queue.closed),
        "priority": ("priority", queue.priority),
        "description": ("description", queue.description),
    }
    return _chosen(values, request.fields)


def project_changes_of(
    project: scheduler_pb2.Project, fields: Sequence[str] = ("quota", "description")
) -> dict[str, Any]:
    """Return what is said of a project; with `fields`, only that."""
    values: dict[str, tuple[str, Any]] = {
        "quota": ("quota", shared_mapping(project.quota)),
        "description": ("description", project.description),
    }
    return _chosen(values, fields)


def _chosen(values: dict[str, tuple[str, Any]], fields: Sequence[str]) -> dict[str, Any]:
    for field in fields:
        if field not in values:
            refuse("fields", field, ", ".join(values))
    if not fields:
        refuse("fields", "none", ", ".join(values))
    return dict(values[field] for field in fields)


def grace_of(request: scheduler_pb2.CancelJobsRequest) -> float:
    """Return the time between SIGTERM and SIGKILL, in seconds."""
    if not request.HasField("grace"):
        return DEFAULT_GRACE_S
    grace_us = _microseconds(request.grace)
    check_between("grace", grace_us, 0, LONGEST_GRACE_S * SECOND_US, "us")
    return grace_us / SECOND_US


def log_query_of(request: scheduler_pb2.ReadLogsRequest) -> LogQuery:
    """Return which part of the logs is asked for."""
    for field in ("offset", "tail_lines", "attempt"):
        check_between(field, getattr(request, field), 0, _LARGEST)
    if request.stream not in _STREAMS:
        refuse("stream", request.stream, "stdout (1), stderr (2) or both (0)")
    return LogQuery(
        role=request.role,
        index=request.index if request.HasField("index") else None,
        streams=_STREAMS[request.stream],
        offset=request.offset,
        tail_lines=request.tail_lines,
        follow=request.follow,
        attempt=request.attempt,
    )
