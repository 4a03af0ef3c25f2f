"""Values as the messages that clients get."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.api.objects.v1 import objects_pb2
from gridloom.api.scheduler.v1 import job_pb2, scheduler_pb2

from gridloom_services.scheduler.clock import SECOND_US

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.timestamp_pb2 import Timestamp

    from gridloom_services.scheduler.demand import Demand
    from gridloom_services.scheduler.engine.decisions import NodeState
    from gridloom_services.scheduler.explain import Answer
    from gridloom_services.scheduler.job import Event, GangOutput, Job, ReplicaEnd
    from gridloom_services.scheduler.projects import ProjectView
    from gridloom_services.scheduler.queues import QueueView
    from gridloom_services.scheduler.runtime.base import NodeCapacity
    from gridloom_services.scheduler.spec import JobSpec, RetryPolicy, Role
    from gridloom_services.scheduler.views import JobView

_NANOS_A_MICROSECOND = 1000


def job_message(view: JobView) -> job_pb2.Job:
    """Return the message of a job or an element."""
    job = view.job
    message = job_pb2.Job(
        id=job.id,
        spec=spec_message(job.spec, job.time_limit_s),
        owner=job.owner,
        state=int(job.state),  # type: ignore[arg-type]
        attempt=job.attempt,
        revision=job.revision,
        reason=job.reason,
        failure_class=int(job.failure_class),  # type: ignore[arg-type]
        exit_code=job.exit_code,
        signal=job.signal,
        cpu_seconds=job.usage.cpu_seconds,
        peak_memory_bytes=job.usage.peak_memory_bytes,
        replicas=[_replica_message(replica) for replica in view.replicas],
        outputs=[_output_message(number, output) for number, output in view.outputs],
        retry_of=job.retry_of,
    )
    _set_moment(message.submitted_at, job.submitted_us)
    for field, moment_us in (
        ("queued_at", job.queued_us),
        ("started_at", job.started_us),
        ("ended_at", job.ended_us),
    ):
        if moment_us is not None:
            _set_moment(getattr(message, field), moment_us)
    _add_array(message, job, view.element)
    return message


def _add_array(message: job_pb2.Job, job: Job, element: int | None) -> None:
    if element is not None:
        message.element = element
    elif job.spec.array is not None:
        message.array.size = job.spec.array.size
        for run in job.runs:
            message.array.runs.add(first=run.first, count=run.count, state=int(run.state))


def spec_message(spec: JobSpec, time_limit_s: int) -> job_pb2.JobSpec:
    """Return the message of a specification, with the time limit in force."""
    message = job_pb2.JobSpec(
        name=spec.name,
        project=spec.project,
        queue=spec.queue,
        priority=spec.priority,
        kind=spec.kind,
        roles=[_role_message(role) for role in spec.roles],
        dependencies=[
            job_pb2.Dependency(job_id=each.job_id, condition=int(each.condition))  # type: ignore[arg-type]
            for each in spec.dependencies
        ],
        labels=spec.labels,
        request_id=spec.request_id,
        hold=spec.hold,
    )
    message.time_limit.seconds = time_limit_s
    if spec.array is not None:
        message.array.max_parallel = spec.array.max_parallel
        for part in spec.array.ranges:
            message.array.ranges.add(first=part.first, last=part.last, step=part.step)
    _set_retry(message.retry, spec.retry)
    if spec.start_after_us is not None:
        _set_moment(message.start_after, spec.start_after_us)
    if spec.deadline_us is not None:
        _set_moment(message.deadline, spec.deadline_us)
    return message


def _role_message(role: Role) -> job_pb2.Role:
    message = job_pb2.Role(
        name=role.name,
        replicas=role.replicas,
        min_replicas=role.min_replicas if role.elastic else 0,
        colocate=role.colocate,
        image=role.image,
        command=role.command,
        env=role.env,
        outputs=role.outputs,
        resources=role.resources,
        workdir=role.workdir,
    )
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
    return message


def _set_retry(message: job_pb2.RetryPolicy, retry: RetryPolicy) -> None:
    for failure, count in retry.retries.items():
        message.rules.add(failure_class=int(failure), retries=count)
    message.backoff.FromMicroseconds(retry.backoff_us)
    message.max_backoff.FromMicroseconds(retry.max_backoff_us)


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
