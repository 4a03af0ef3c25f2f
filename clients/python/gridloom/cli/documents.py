"""The JSON of the command line: one document a noun. Keys are added, never changed or taken away.

Times are ISO 8601 in UTC, durations seconds, amounts of memory bytes, cpus thousandths (`cpu`), as
in the API; what is not known is null. `docs/command-line.md` describes every key.
"""

from __future__ import annotations

from dataclasses import asdict, fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gridloom.context import Context
    from gridloom.jobs.info import (
        Explanation,
        JobChange,
        JobEvent,
        JobInfo,
        NodeInfo,
        OutputInfo,
        ProjectInfo,
        QueueInfo,
    )
    from gridloom.jobs.logs import LogLine

Document = dict[str, Any]


def plain(value: Any) -> Any:
    """A value as JSON knows it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def job_document(job: JobInfo) -> Document:
    """A job, or one element of an array."""
    return {
        "id": job.id,
        "name": job.name,
        "state": plain(job.state),
        "reason": job.reason,
        "project": job.project,
        "queue": job.queue,
        "owner": job.owner,
        "kind": job.kind,
        "priority": job.priority,
        "labels": plain(dict(job.labels)),
        "attempt": job.attempt,
        "submitted_at": plain(job.submitted_at),
        "queued_at": plain(job.queued_at),
        "started_at": plain(job.started_at),
        "ended_at": plain(job.ended_at),
        "time_limit_s": job.time_limit_s,
        "exit_code": job.exit_code,
        "signal": job.signal,
        "failure_class": plain(job.failure_class),
        "cpu_seconds": job.cpu_seconds,
        "peak_memory_bytes": job.peak_memory_bytes,
        "retry_of": job.retry_of or None,
        "element": job.element,
        "array": _array(job),
        "roles": [plain(role) for role in job.roles],
        "replicas": [plain(replica) for replica in job.replicas],
        "outputs": [output_document(output) for output in job.outputs],
    }


def _array(job: JobInfo) -> Document | None:
    if not job.elements:
        return None
    counts = {state.value: count for state, count in job.counts().items()}
    return {"size": job.elements, "states": counts}


def output_document(output: OutputInfo) -> Document:
    """A file that a job has brought back."""
    return asdict(output)


def change_document(change: JobChange) -> Document:
    """One change of a job, as `jobs watch` says it."""
    return {
        "revision": change.revision,
        "snapshot": change.snapshot,
        "job": job_document(change.job),
    }


def line_document(line: LogLine) -> Document:
    """One line that a job wrote, as `jobs logs` says it."""
    source = line.source
    return {
        "element": source.element,
        "role": source.role,
        "index": source.index,
        "attempt": source.attempt,
        "stream": "stderr" if source.is_error else "stdout",
        "text": line.text,
    }


def event_document(event: JobEvent) -> Document:
    """One entry of a job's history."""
    return plain(event)  # type: ignore[no-any-return]


def explanation_document(explanation: Explanation) -> Document:
    """Why a job waits."""
    return plain(explanation)  # type: ignore[no-any-return]


def queue_document(queue: QueueInfo) -> Document:
    """A queue."""
    return plain(queue)  # type: ignore[no-any-return]


def project_document(project: ProjectInfo) -> Document:
    """A project."""
    return plain(project)  # type: ignore[no-any-return]


def node_document(node: NodeInfo) -> Document:
    """A machine."""
    return plain(node)  # type: ignore[no-any-return]


def context_document(context: Context, current: str) -> Document:
    """A context, without its key."""
    return {
        "name": context.name,
        "current": context.name == current,
        "address": context.address or None,
        "home": context.home or None,
        "project": context.project or None,
        "queue": context.queue or None,
    }
