"""What is shown of each kind of thing, in lists and alone."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from gridloom import units
from gridloom.cli import documents, words
from gridloom.cli.screen import Column, Noun
from gridloom.jobs.outcome import end_words
from gridloom.jobs.states import FailureClass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gridloom.context import Context
    from gridloom.inventory import FunctionInfo, PoolInfo
    from gridloom.jobs.info import (
        JobEvent,
        JobInfo,
        NodeInfo,
        OutputInfo,
        ProjectInfo,
        QueueInfo,
        ReplicaInfo,
    )

_LONG_COMMAND = 400


def _job_sheet(job: JobInfo) -> Iterator[tuple[str, str | tuple[str, str]]]:
    yield "job", job.id
    yield "name", job.name
    yield "state", words.state_word(job.state)
    if job.elements:
        yield "elements", f"{job.elements:,}: {words.array_states(job)}"
    if job.reason:
        yield "reason", job.reason
    if job.failure_class not in {None, FailureClass.APPLICATION_ERROR} or job.signal:
        yield "ended by", end_words(job)
    yield "queue", f"{job.project}/{job.queue}, priority {job.priority}"
    yield "owner", job.owner
    yield from _role_rows(job)
    if job.labels:
        yield "labels", ", ".join(f"{key}={value}" for key, value in sorted(job.labels.items()))
    if job.time_limit_s:
        yield "time limit", units.format_duration(job.time_limit_s)
    if job.retry_of:
        yield "retry of", job.retry_of
    yield from _life_rows(job)
    for output in job.outputs:
        yield "output", f"{output.path} ({units.format_bytes(output.size_bytes)})"


def _role_rows(job: JobInfo) -> Iterator[tuple[str, str]]:
    for role in job.roles:
        times = f" x {role.replicas}" if role.replicas > 1 else ""
        title = "command" if len(job.roles) == 1 else f"role {role.name}"
        line = shlex.join(role.command)
        shown = line if len(line) <= _LONG_COMMAND else f"{line[:_LONG_COMMAND]}..."
        yield title, f"{shown}{times}"
        yield "needs", words.amounts(role.resources) + (" each" if times else "")


def _life_rows(job: JobInfo) -> Iterator[tuple[str, str]]:
    yield "submitted", words.moment(job.submitted_at)
    if job.started_at:
        attempt = f", attempt {job.attempt}" if job.attempt > 1 else ""
        yield "started", words.moment(job.started_at) + attempt
        yield "run time", words.run_time(job)
    if job.ended_at:
        yield "ended", words.moment(job.ended_at)
    if job.exit_code is not None:
        yield "exit code", str(job.exit_code)
    if job.cpu_seconds or job.peak_memory_bytes:
        peak = units.format_bytes(job.peak_memory_bytes)
        yield "used", f"{units.format_duration(job.cpu_seconds)} of CPU, {peak} at most"


def _pool_workers(pool: PoolInfo) -> str:
    return f"{pool.workers} of {pool.most_workers}" if pool.most_workers else str(pool.workers)


_POOL_STYLES = {"RUNNING": "green", "STARTING": "cyan", "BROKEN": "red"}

JOB: Noun[JobInfo] = Noun(
    "job",
    columns=(
        Column("JOB", lambda job: job.id),
        Column("NAME", lambda job: job.name, flexible=True, spare=1),
        Column("STATE", words.job_state),
        Column("QUEUE", lambda job: job.queue, spare=3),
        Column("AGE", lambda job: words.age(job.submitted_at), right=True),
        Column("RUN", words.run_time, right=True, spare=2),
        Column("REASON", words.short_reason, flexible=True, spare=4),
    ),
    document=documents.job_document,
    identifier=lambda job: job.id,
    sheet=_job_sheet,
)

REPLICA: Noun[ReplicaInfo] = Noun(
    "replica",
    columns=(
        Column("REPLICA", lambda each: f"{each.role}.{each.index}"),
        Column("STATE", lambda each: words.state_word(each.state)),
        Column("NODE", lambda each: each.node),
        Column("CPU", lambda each: units.format_duration(each.cpu_seconds), right=True),
        Column("PEAK", lambda each: units.format_bytes(each.peak_memory_bytes), right=True),
        Column("REASON", lambda each: each.reason, flexible=True),
    ),
    document=documents.plain,
    identifier=lambda each: f"{each.role}.{each.index}",
)

OUTPUT: Noun[OutputInfo] = Noun(
    "output",
    columns=(
        Column("OUTPUT", lambda each: each.path),
        Column("SIZE", lambda each: units.format_bytes(each.size_bytes), right=True),
    ),
    document=documents.output_document,
    identifier=lambda each: each.path,
)

EVENT: Noun[JobEvent] = Noun(
    "event",
    columns=(
        Column("WHEN", lambda event: words.moment(event.at)),
        Column("STATE", lambda event: words.state_word(event.to_state)),
        Column("ATTEMPT", lambda event: str(event.attempt), right=True),
        Column("ELEMENT", lambda event: "-" if event.element is None else str(event.element)),
        Column("REASON", lambda event: event.reason, flexible=True),
    ),
    document=documents.event_document,
    identifier=lambda event: str(event.revision),
)

QUEUE: Noun[QueueInfo] = Noun(
    "queue",
    columns=(
        Column("QUEUE", lambda queue: queue.name),
        Column("PROJECT", lambda queue: queue.project),
        Column("STATE", lambda queue: ("closed", "red") if queue.closed else ("open", "green")),
        Column("PRIORITY", lambda queue: str(queue.priority), right=True),
        Column("QUEUED", lambda queue: str(queue.queued_jobs), right=True),
        Column("RUNNING", lambda queue: str(queue.running_jobs), right=True),
        Column("USED", lambda queue: words.amounts(queue.used), flexible=True, spare=2),
        Column("QUOTA", lambda queue: words.amounts(queue.quota), flexible=True, spare=1),
    ),
    document=documents.queue_document,
    identifier=lambda queue: queue.name,
)


PROJECT: Noun[ProjectInfo] = Noun(
    "project",
    columns=(
        Column("PROJECT", lambda project: project.name),
        Column("QUEUES", lambda project: ", ".join(project.queues), flexible=True, spare=3),
        Column("QUEUED", lambda project: str(project.queued_jobs), right=True),
        Column("RUNNING", lambda project: str(project.running_jobs), right=True),
        Column("USED", lambda project: words.amounts(project.used), flexible=True, spare=2),
        Column("QUOTA", lambda project: words.amounts(project.quota), flexible=True, spare=1),
    ),
    document=documents.project_document,
    identifier=lambda project: project.name,
)


def _free(node: NodeInfo, name: str) -> str:
    free, whole = node.free.get(name, 0), node.capacity.get(name, 0)
    if name == "memory":
        return f"{units.format_bytes(free)} of {units.format_bytes(whole)}"
    return f"{units.format_cpus(free)} of {units.format_cpus(whole)}"


NODE: Noun[NodeInfo] = Noun(
    "node",
    columns=(
        Column("NODE", lambda node: node.name),
        Column("FREE CPUS", lambda node: _free(node, "cpu"), right=True),
        Column("FREE MEMORY", lambda node: _free(node, "memory"), right=True),
        Column(
            "REMARK",
            lambda node: (
                "closed"
                if not node.schedulable
                else "oversubscribed"
                if node.oversubscribed
                else ""
            ),
        ),
    ),
    document=documents.node_document,
    identifier=lambda node: node.name,
)

POOL: Noun[PoolInfo] = Noun(
    "pool",
    columns=(
        Column("POOL", lambda pool: pool.id),
        Column("NAME", lambda pool: pool.name, flexible=True),
        Column("STATE", lambda pool: (pool.state, _POOL_STYLES.get(pool.state, ""))),
        Column("KIND", lambda pool: pool.concurrency),
        Column("WORKERS", _pool_workers, right=True),
        Column("BUSY", lambda pool: str(pool.busy), right=True),
        Column("QUEUED", lambda pool: f"{pool.queued_calls:,}", right=True),
        Column("EACH", lambda pool: words.amounts(pool.resources), flexible=True, spare=1),
        Column("REASON", lambda pool: pool.reason, flexible=True, spare=2),
    ),
    document=documents.plain,
    identifier=lambda pool: pool.id,
)

FUNCTION: Noun[FunctionInfo] = Noun(
    "function",
    columns=(
        Column("FUNCTION", lambda function: function.name),
        Column("QUEUED", lambda function: f"{function.queued:,}", right=True),
        Column("RUNNING", lambda function: f"{function.running:,}", right=True),
        Column("SUCCEEDED", lambda function: f"{function.succeeded:,}", right=True),
        Column("FAILED", lambda function: f"{function.failed:,}", right=True),
        Column("MEAN", lambda function: units.format_duration(function.mean_s), right=True),
    ),
    document=documents.plain,
    identifier=lambda function: function.name,
)


def context_noun(current: str) -> Noun[Context]:
    """Contexts, of which this one is current."""
    return Noun(
        "context",
        columns=(
            Column("", lambda context: ("*", "green") if context.name == current else ""),
            Column("CONTEXT", lambda context: context.name),
            Column("PLATFORM", lambda context: context.address or context.home or "embedded"),
            Column("PROJECT", lambda context: context.project),
            Column("QUEUE", lambda context: context.queue),
        ),
        document=lambda context: documents.context_document(context, current),
        identifier=lambda context: context.name,
    )
