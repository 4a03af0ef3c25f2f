"""Values as the messages that clients get."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.api.objects.v1 import objects_pb2
from gridloom.api.scheduler.v1 import job_pb2, scheduler_pb2

from gridloom_services.scheduler.clock import SECOND_US
from gridloom_services.scheduler.spec import are_alike
from gridloom_services.scheduler.views import JobView

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
    from google.protobuf.timestamp_pb2 import Timestamp

    from gridloom_services.scheduler.demand import Demand
    from gridloom_services.scheduler.engine.decisions import NodeState
    from gridloom_services.scheduler.explain import Answer
    from gridloom_services.scheduler.job import Event, GangOutput, Job, ReplicaEnd
    from gridloom_services.scheduler.projects import ProjectView
    from gridloom_services.scheduler.queues import QueueView
    from gridloom_services.scheduler.runtime.base import NodeCapacity
    from gridloom_services.scheduler.spec import JobSpec, RetryPolicy, Role

    Jobs = RepeatedCompositeFieldContainer[job_pb2.Job]

_NANOS_A_MICROSECOND = 1000
_MOST_KEPT = 256
_retry_messages: dict[object, job_pb2.RetryPolicy] = {}


def job_message(view: JobView) -> job_pb2.Job:
    """Return the message of a job or an element."""
    message = job_pb2.Job()
    _fill_job(message, view)
    return message


def add_jobs(messages: Jobs, jobs: Iterable[Job]) -> None:
    """Add the messages of whole jobs where they stand in another; new ones are mostly alike."""
    like: Job | None = None
    common = job_pb2.JobSpec()
    for job in jobs:
        if like is None or not _are_alike(job, like):
            like, common = job, spec_message(job.spec, job.time_limit_s)
        message = messages.add(spec=common)
        if job is not like:
            message.spec.request_id = job.spec.request_id
            message.spec.roles[0].command[:] = job.spec.roles[0].command
        _fill_state(message, JobView(job))


def _are_alike(job: Job, other: Job) -> bool:
    return job.time_limit_s == other.time_limit_s and are_alike(job.spec, other.spec)


def _fill_job(message: job_pb2.Job, view: JobView) -> None:
    _fill_spec(message.spec, view.job.spec, view.job.time_limit_s)
    _fill_state(message, view)


def _fill_state(message: job_pb2.Job, view: JobView) -> None:
    """Fill in all but the specification."""
    job = view.job
    message.id = job.id
    message.owner = job.owner
    message.state = int(job.state)  # type: ignore[assignment]
    message.revision = job.revision
    _set_moment(message.submitted_at, job.submitted_us)
    if job.queued_us is not None:
        _set_moment(message.queued_at, job.queued_us)
    if job.reason:
        message.reason = job.reason
    if job.retry_of:
        message.retry_of = job.retry_of
    if job.is_array or view.element is not None:
        _add_array(message, job, view.element)
    if job.attempt or job.failure_class or job.state.is_final or view.replicas or view.outputs:
        _add_course(message, view)


def _add_course(message: job_pb2.Job, view: JobView) -> None:
    """Add what is known of a job once it has been started, or is over."""
    job = view.job
    message.attempt = job.attempt
    message.failure_class = int(job.failure_class)  # type: ignore[assignment]
    message.exit_code = job.exit_code
    message.signal = job.signal
    message.cpu_seconds = job.usage.cpu_seconds
    message.peak_memory_bytes = job.usage.peak_memory_bytes
    message.replicas.extend([_replica_message(replica) for replica in view.replicas])
    message.outputs.extend([_output_message(*output) for output in view.outputs])
    if job.started_us is not None:
        _set_moment(message.started_at, job.started_us)
    if job.ended_us is not None:
        _set_moment(message.ended_at, job.ended_us)


def _add_array(message: job_pb2.Job, job: Job, element: int | None) -> None:
    if element is not None:
        message.element = element
    elif job.spec.array is not None:
        message.array.size = job.spec.array.size
        for run in job.runs:
            message.array.runs.add(first=run.first, count=run.count, state=int(run.state))


def spec_message(spec: JobSpec, time_limit_s: int) -> job_pb2.JobSpec:
    """Return the message of a specification, with the time limit in force."""
    message = job_pb2.JobSpec()
    _fill_spec(message, spec, time_limit_s)
    return message


def _fill_spec(message: job_pb2.JobSpec, spec: JobSpec, time_limit_s: int) -> None:
    # Only what is said is set: each field costs, and jobs come by the thousand.
    message.name = spec.name
    message.project = spec.project
    message.queue = spec.queue
    message.kind = spec.kind
    message.request_id = spec.request_id
    message.time_limit.seconds = time_limit_s
    if spec.priority:
        message.priority = spec.priority
    if spec.hold:
        message.hold = True
    for role in spec.roles:
        _fill_role(message.roles.add(), role)
    for each in spec.dependencies:
        message.dependencies.add(job_id=each.job_id, condition=int(each.condition))
    if spec.labels:
        message.labels.update(spec.labels)
    message.retry.CopyFrom(_retry_message(spec.retry))
    _fill_times(message, spec)


def _fill_times(message: job_pb2.JobSpec, spec: JobSpec) -> None:
    if spec.array is not None:
        message.array.max_parallel = spec.array.max_parallel
        for part in spec.array.ranges:
            message.array.ranges.add(first=part.first, last=part.last, step=part.step)
    if spec.start_after_us is not None:
        _set_moment(message.start_after, spec.start_after_us)
    if spec.deadline_us is not None:
        _set_moment(message.deadline, spec.deadline_us)


def _fill_role(message: job_pb2.Role, role: Role) -> None:
    message.name = role.name
    message.replicas = role.replicas
    message.command.extend(role.command)
    message.resources.update(role.resources)
    if role.elastic:
        message.min_replicas = role.min_replicas
    for name in ("colocate", "image", "workdir", "per_node"):
        if value := getattr(role, name):
            setattr(message, name, value)
    if role.env:
        message.env.update(role.env)
    if role.outputs:
        message.outputs.extend(role.outputs)
    _fill_mounts(message, role)


def _fill_mounts(message: job_pb2.Role, role: Role) -> None:
    for file in role.files:
        message.files.add(
            path=file.path, object=_object(file.digest, file.size_bytes), mode=file.mode
        )
    if role.stdin is not None:
        message.stdin.CopyFrom(_object(role.stdin.digest, role.stdin.size_bytes))
    for volume in role.volumes:
        message.volumes.add(
            claim=volume.claim, mount_path=volume.mount_path, read_only=volume.read_only
        )
    for secret in role.secrets:
        message.secrets.add(name=secret.name, key=secret.key, target=secret.target)


def _retry_message(retry: RetryPolicy) -> job_pb2.RetryPolicy:
    """Return the message, for copying: of policies in use it is made once."""
    key = (tuple(retry.retries.items()), retry.backoff_us, retry.max_backoff_us)
    found = _retry_messages.get(key)
    if found is None:
        if len(_retry_messages) >= _MOST_KEPT:
            _retry_messages.clear()
        found = _retry_messages[key] = _made_retry(retry)
    return found


def _made_retry(retry: RetryPolicy) -> job_pb2.RetryPolicy:
    message = job_pb2.RetryPolicy()
    for failure, count in retry.retries.items():
        message.rules.add(failure_class=int(failure), retries=count)
    message.backoff.FromMicroseconds(retry.backoff_us)
    message.max_backoff.FromMicroseconds(retry.max_backoff_us)
    return message


def _replica_message(replica: ReplicaEnd) -> job_pb2.Replica:
    return job_pb2.Replica(
        role=replica.role,
        index=replica.index,
        state=int(replica.state),  # type: ignore[arg-type]
        node=replica.node,
        exit_code=replica.exit_code,
        signal=replica.signal,
        cpu_seconds=replica.usage.cpu_seconds,
        peak_memory_bytes=replica.usage.peak_memory_bytes,
        failure_class=int(replica.failure_class),  # type: ignore[arg-type]
        reason=replica.reason,
    )


def _output_message(number: int, output: GangOutput) -> job_pb2.OutputFile:
    return job_pb2.OutputFile(
        role=output.role,
        index=output.index,
        path=output.file.path,
        object=_object(output.file.digest, output.file.size_bytes),
        mode=output.file.mode,
        element=number,
    )


def _object(digest: str, size_bytes: int) -> objects_pb2.ObjectRef:
    return objects_pb2.ObjectRef(digest=digest, size_bytes=size_bytes)


def _set_moment(message: Timestamp, moment_us: int) -> None:
    message.seconds, micros = divmod(moment_us, SECOND_US)
    message.nanos = micros * _NANOS_A_MICROSECOND


def event_message(event: Event, number: int | None) -> job_pb2.JobEvent:
    """Return the message of an event; `number` is that of the element it is about."""
    message = job_pb2.JobEvent(
        revision=event.revision,
        job_id=event.job_id,
        from_state=int(event.before or 0),  # type: ignore[arg-type]
        to_state=int(event.after),  # type: ignore[arg-type]
        attempt=event.attempt,
        reason=event.reason,
        element=number,
    )
    _set_moment(message.at, event.at_us)
    return message


def explain_message(answer: Answer) -> scheduler_pb2.ExplainJobResponse:
    """Return the message of an explanation."""
    reason = scheduler_pb2.PendingReason.Value(f"PENDING_REASON_{answer.reason.name}")
    message = scheduler_pb2.ExplainJobResponse(
        reason=reason,
        message=answer.message,
        resource=answer.resource,
        asked=answer.asked,
        available=answer.available,
        ahead=answer.ahead,
        ahead_count=answer.ahead_count,
    )
    if answer.promised_start_us is not None:
        _set_moment(message.promised_start, answer.promised_start_us)
    return message


def demand_message(found: Demand) -> scheduler_pb2.WatchDemandResponse:
    """Return the message of a demand."""
    return scheduler_pb2.WatchDemandResponse(
        waiting_jobs=found.waiting_jobs,
        waiting_own_job_ids=sorted(found.waiting_own),
        free=_not_negative(found.free),
        capacity=found.capacity,
    )


def _not_negative(amounts: Mapping[str, int]) -> dict[str, int]:
    return {name: max(amount, 0) for name, amount in amounts.items()}


def project_message(view: ProjectView) -> scheduler_pb2.Project:
    """Return the message of a project."""
    return scheduler_pb2.Project(
        name=view.name,
        quota=view.quota,
        description=view.description,
        queues=view.queues,
        used=view.used,
        queued_jobs=view.queued_jobs,
        running_jobs=view.running_jobs,
    )


def queue_message(view: QueueView) -> scheduler_pb2.Queue:
    """Return the message of a queue."""
    queue = view.queue
    message = scheduler_pb2.Queue(
        name=queue.name,
        project=queue.project,
        quota=queue.quota,
        closed=queue.closed,
        priority=queue.priority,
        description=queue.description,
        used=view.used,
        queued_jobs=view.queued_jobs,
        running_jobs=view.running_jobs,
    )
    message.default_time_limit.seconds = queue.default_time_limit_s
    if queue.max_time_limit_s:
        message.max_time_limit.seconds = queue.max_time_limit_s
    return message


def node_message(node: NodeState, told: NodeCapacity | None) -> scheduler_pb2.Node:
    """Return the message of a node; `told` is what the runtime says of it."""
    return scheduler_pb2.Node(
        name=node.name,
        capacity=node.capacity,
        free=_not_negative(node.free),
        labels=node.labels,
        schedulable=node.schedulable,
        oversubscribed=told is not None and told.oversubscribed,
    )
