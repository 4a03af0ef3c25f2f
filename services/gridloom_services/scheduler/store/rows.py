"""Rows of the tables as values, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gridloom_services.scheduler.job import (
    Event,
    GangEnd,
    Job,
    KeptStream,
    LiveGang,
    Outcome,
    Promise,
    Tries,
    Usage,
)
from gridloom_services.scheduler.queue import Queue
from gridloom_services.scheduler.runtime.base import StoredStream
from gridloom_services.scheduler.states import FailureClass, JobState
from gridloom_services.scheduler.store import codec

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import SimpleNamespace

Values = dict[str, Any]


def job_rows(jobs: Iterable[Job]) -> list[Values]:
    """Return all columns of each of these jobs."""
    write_spec = codec.SpecWriter().write
    return [_job_row(job, write_spec(job.spec)) for job in jobs]


def _job_row(job: Job, spec_text: str) -> Values:
    spec = job.spec
    return {
        "sequence": job.sequence,
        "id": job.id,
        "project": spec.project,
        "queue": spec.queue,
        "owner": job.owner,
        "kind": spec.kind,
        "request_id": spec.request_id,
        "submitted_us": job.submitted_us,
        "time_limit_s": job.time_limit_s,
        "retry_of": job.retry_of,
        "spec": spec_text,
        **job_changes(job),
    }


def job_changes(job: Job) -> Values:
    """Return the columns of a job that ever change."""
    return {
        "state": job.state,
        "revision": job.revision,
        "attempt": job.attempt,
        "queued_us": job.queued_us,
        "started_us": job.started_us,
        "ended_us": job.ended_us,
        "reason": job.reason,
        "failure_class": job.failure_class,
        "exit_code": job.exit_code,
        "signal": job.signal,
        "cpu_seconds": job.usage.cpu_seconds,
        "peak_memory_bytes": job.usage.peak_memory_bytes,
        "runs": codec.write_runs(job.runs),
        "sizes": codec.write(job.sizes),
    }


def job_of(row: SimpleNamespace) -> Job:
    """Return the job again."""
    return Job(
        sequence=row.sequence,
        id=row.id,
        spec=codec.read_spec(row.spec),
        owner=row.owner,
        state=JobState(row.state),
        submitted_us=row.submitted_us,
        time_limit_s=row.time_limit_s,
        revision=row.revision,
        attempt=row.attempt,
        queued_us=row.queued_us,
        started_us=row.started_us,
        ended_us=row.ended_us,
        reason=row.reason,
        failure_class=FailureClass(row.failure_class),
        exit_code=row.exit_code,
        signal=row.signal,
        usage=Usage(row.cpu_seconds, row.peak_memory_bytes),
        retry_of=row.retry_of,
        runs=codec.read_runs(row.runs),
        sizes=codec.read_mapping(row.sizes),
    )


def label_rows(job: Job) -> list[Values]:
    """Return a row for each of a job's labels."""
    return [
        {"key": key, "value": value, "sequence": job.sequence}
        for key, value in job.spec.labels.items()
    ]


def gang_row(live: LiveGang) -> Values:
    """Return all columns of a live gang."""
    return {
        "sequence": live.sequence,
        "element": live.element,
        "name": live.name,
        "job_id": live.job_id,
        "attempt": live.attempt,
        "placement": codec.write_placement(live.placement),
        "starting_us": live.starting_us,
        "stop": codec.write(live.stop),
        "leaving": codec.write(tuple(sorted(live.leaving))),
        "elastic": codec.write_elastic(live.elastic),
    }


def gang_of(row: SimpleNamespace) -> LiveGang:
    """Return the live gang again."""
    return LiveGang(
        name=row.name,
        sequence=row.sequence,
        job_id=row.job_id,
        element=row.element,
        attempt=row.attempt,
        placement=codec.read_placement(row.placement),
        starting_us=row.starting_us,
        stop=codec.read_stop(row.stop),
        leaving=codec.read_members(row.leaving),
        elastic=codec.read_elastic(row.elastic),
    )


def end_row(end: GangEnd) -> Values:
    """Return all columns of an ended attempt."""
    return {
        "sequence": end.sequence,
        "element": end.element,
        "attempt": end.attempt,
        "state": end.outcome.state,
        "failure_class": end.outcome.failure_class,
        "exit_code": end.outcome.exit_code,
        "signal": end.outcome.signal,
        "reason": end.outcome.reason,
        "queued_us": end.queued_us,
        "started_us": end.started_us,
        "ended_us": end.ended_us,
        "cpu_seconds": end.usage.cpu_seconds,
        "peak_memory_bytes": end.usage.peak_memory_bytes,
        "replicas": codec.write(end.replicas),
        "outputs": codec.write(end.outputs),
    }


def end_of(row: SimpleNamespace) -> GangEnd:
    """Return the ended attempt again."""
    return GangEnd(
        sequence=row.sequence,
        element=row.element,
        attempt=row.attempt,
        outcome=Outcome(
            state=JobState(row.state),
            failure_class=FailureClass(row.failure_class),
            exit_code=row.exit_code,
            signal=row.signal,
            reason=row.reason,
        ),
        queued_us=row.queued_us,
        started_us=row.started_us,
        ended_us=row.ended_us,
        usage=Usage(row.cpu_seconds, row.peak_memory_bytes),
        replicas=codec.read_replicas(row.replicas),
        outputs=codec.read_outputs(row.outputs),
    )


def tries_row(unit: tuple[int, int], tries: Tries) -> Values:
    """Return all columns of what was used of an element's retries."""
    return {
        "sequence": unit[0],
        "element": unit[1],
        "attempts": tries.attempts,
        "used": codec.write(tries.used),
        "not_before_us": tries.not_before_us,
        "memory_factor": tries.memory_factor,
    }


def tries_of(row: SimpleNamespace) -> Tries:
    """Return what was used again."""
    return Tries(row.attempts, codec.read_used(row.used), row.not_before_us, row.memory_factor)


def event_row(event: Event) -> Values:
    """Return all columns of an event."""
    return {
        "revision": event.revision,
        "sequence": event.sequence,
        "job_id": event.job_id,
        "at_us": event.at_us,
        "before": event.before,
        "after": event.after,
        "attempt": event.attempt,
        "reason": event.reason,
        "element": event.element,
        "elements": event.count,
    }


def event_of(row: SimpleNamespace) -> Event:
    """Return the event again."""
    return Event(
        revision=row.revision,
        sequence=row.sequence,
        job_id=row.job_id,
        at_us=row.at_us,
        before=None if row.before is None else JobState(row.before),
        after=JobState(row.after),
        attempt=row.attempt,
        reason=row.reason,
        element=row.element,
        count=row.elements,
    )


def queue_row(queue: Queue) -> Values:
    """Return all columns of a queue."""
    return {
        "project": queue.project,
        "name": queue.name,
        "quota": codec.write(queue.quota),
        "default_time_limit_s": queue.default_time_limit_s,
        "max_time_limit_s": queue.max_time_limit_s,
        "closed": queue.closed,
        "priority": queue.priority,
        "description": queue.description,
    }


def queue_of(row: SimpleNamespace) -> Queue:
    """Return the queue again."""
    return Queue(
        project=row.project,
        name=row.name,
        quota=codec.read_mapping(row.quota),
        default_time_limit_s=row.default_time_limit_s,
        max_time_limit_s=row.max_time_limit_s,
        closed=bool(row.closed),
        priority=row.priority,
        description=row.description,
    )


def promise_row(promise: Promise) -> Values:
    """Return all columns of a promise."""
    return {
        "job_id": promise.job_id,
        "element": promise.element,
        "start_s": promise.start_s,
        "placement": codec.write_placement(promise.placement),
    }


def promise_of(row: SimpleNamespace) -> Promise:
    """Return the promise again."""
    return Promise(row.job_id, row.element, row.start_s, codec.read_placement(row.placement))


def stream_row(gang: str, name: str, kept: KeptStream) -> Values:
    """Return all columns of where a stream is."""
    return {
        "gang": gang,
        "name": name,
        "digest": kept.stored.digest,
        "size_bytes": kept.size_bytes,
        "gap_first": kept.stored.first,
        "gap_end": kept.stored.end,
    }


def stream_of(row: SimpleNamespace) -> KeptStream:
    """Return it again."""
    return KeptStream(StoredStream(row.digest, row.gap_first, row.gap_end), row.size_bytes)
