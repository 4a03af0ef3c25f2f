"""Everything that is done with jobs, written once: see `gridloom.operation`."""

from __future__ import annotations

import sys
import uuid
import warnings
from functools import partial
from typing import TYPE_CHECKING, cast

from gridloom import ids, units
from gridloom.api.scheduler.v1 import scheduler_pb2 as pb
from gridloom.errors import GridloomError, GridloomWarning
from gridloom.jobs.info import Explanation, JobInfo, read_explanation, read_job, read_new_jobs
from gridloom.jobs.listing import PAGE, jobs_page
from gridloom.jobs.logs import LineReading, LogQuery
from gridloom.jobs.outcome import (
    TAIL_LINES,
    failed_numbers,
    failure_of,
    tail_text,
)
from gridloom.jobs.request import JobDraft, job_draft, words_in_common
from gridloom.jobs.times import duration_of
from gridloom.jobs.watch import EndWatch
from gridloom.operation import Blocking, Call, Collect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import FrameType

    from google.protobuf.message import Message

    from gridloom.api.objects.v1.objects_pb2 import ObjectRef
    from gridloom.channel import Connection
    from gridloom.jobs.options import JobOptions, JobRequest
    from gridloom.jobs.role import Command
    from gridloom.objects import ObjectsClient
    from gridloom.operation import Operation
    from gridloom.options import Defaults

_MOST_AT_ONCE = 1000
_SENT_AT_ONCE = 8


def submit(
    requests: Sequence[JobRequest], defaults: Defaults, folder: Path
) -> Operation[list[JobInfo]]:
    """All of the jobs or none: sends their files, then asks for them in one request.

    Where one of them says `validate_only`, everything is checked and nothing is sent or accepted.
    """
    drafts = _drafts(requests, defaults, folder)
    validate_only = any(request.get("validate_only", False) for request in requests)
    specs = [draft.spec for draft in drafts]
    if not validate_only:
        stored = yield Blocking(lambda connection: send_files(connection, drafts))
        specs = [draft.with_objects(refs) for draft, refs in zip(drafts, stored, strict=True)]
    request = pb.SubmitJobsRequest(jobs=specs, validate_only=validate_only)
    answer: pb.SubmitJobsResponse = yield Call("scheduler", "SubmitJobs", request)
    for sentence in answer.warnings:
        warnings.warn(sentence, GridloomWarning, stacklevel=_users_level())
    return read_new_jobs(answer.jobs)


def _users_level() -> int:
    """How far up the line is that is not ours: where a warning is to point to."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # the only way to our callers
    level = 1
    while frame is not None and frame.f_globals.get("__name__", "").startswith("gridloom."):
        frame, level = frame.f_back, level + 1
    return level


def request_of(command: Command | None, options: JobOptions) -> JobRequest:
    """The words of `run`, as one of `run_many`."""
    request: dict[str, object] = dict(options)
    if command is not None:
        request["command"] = command
    return cast("JobRequest", request)


def get(job_id: str, timeout_s: float | None = None) -> Operation[JobInfo]:
    """The job, or element of an array, as it is now."""
    ids.split_job_id(job_id)
    request = pb.GetJobRequest(job_id=job_id)
    answer: pb.GetJobResponse = yield Call("scheduler", "GetJob", request, timeout_s)
    return read_job(answer.job)


def looks(job_ids: Sequence[str]) -> Operation[dict[str, JobInfo]]:
    """Jobs and array elements as they are now, by id; a `NotFoundError` where one is missing."""
    found: dict[str, JobInfo] = {}
    whole = [each for each in job_ids if ids.split_job_id(each)[1] is None]
    for start in range(0, len(whole) if len(job_ids) > 1 else 0, PAGE):
        page, _ = yield from jobs_page({"ids": whole[start : start + PAGE]}, "", PAGE)
        found.update((job.id, job) for job in page)
    for single in job_ids:
        if single not in found:
            found[single] = yield from get(single)
    return found


def wait(
    job_ids: Sequence[str], timeout_s: float | None, see: Callable[[JobInfo], None] | None = None
) -> Operation[None]:
    """Return when all of them are over; a `TimeoutError` where that takes longer.

    `see` is shown each job, at first and at every change.
    """
    found = yield from looks(job_ids)
    if see is not None:
        for job in found.values():
            see(job)
    missing = [job_id for job_id in job_ids if not found[job_id].state.is_final]
    if missing:
        yield Collect(EndWatch(missing, see), timeout_s)


def ended(
    job_id: str, timeout_s: float | None, see: Callable[[JobInfo], None] | None = None
) -> Operation[JobInfo]:
    """Wait, then the job as it ended."""
    yield from wait([job_id], timeout_s, see)
    return (yield from get(job_id))


def failure(job: JobInfo, *, with_log: bool = True) -> Operation[GridloomError]:
    """The error of a job that is over without success, with what it wrote last."""
    culprit = job
    if numbers := failed_numbers(job):
        culprit = yield from get(ids.element_id(job.id, numbers[0]))
    tail = (yield from _log_tail(culprit)) if with_log else ""
    return failure_of(job, culprit=culprit, tail=tail)


def cancel(
    job_ids: Sequence[str], grace: units.Duration | None, reason: str
) -> Operation[list[JobInfo]]:
    """Ask that they end: SIGTERM, and SIGKILL after the grace. What is over stays as it is."""
    pause = None if grace is None else duration_of(units.seconds(grace, field="grace"))

    def request(part: Sequence[str]) -> Message:
        return pb.CancelJobsRequest(job_ids=part, grace=pause, reason=reason)

    return (yield from _for_each("CancelJobs", job_ids, request))


def hold(job_ids: Sequence[str]) -> Operation[list[JobInfo]]:
    """Keep waiting jobs from starting."""
    return (
        yield from _for_each("HoldJobs", job_ids, lambda part: pb.HoldJobsRequest(job_ids=part))
    )


def release(job_ids: Sequence[str]) -> Operation[list[JobInfo]]:
    """Let held jobs go on."""
    return (
        yield from _for_each(
            "ReleaseJobs", job_ids, lambda part: pb.ReleaseJobsRequest(job_ids=part)
        )
    )


def retry(job_id: str) -> Operation[JobInfo]:
    """A new job like this one, which it names."""
    request = pb.RetryJobRequest(job_id=job_id, request_id=f"sdk-{uuid.uuid4().hex}")
    answer: pb.RetryJobResponse = yield Call("scheduler", "RetryJob", request)
    return read_job(answer.job)


def resize(job_id: str, role: str, replicas: int) -> Operation[JobInfo]:
    """Another number of replicas of an elastic role."""
    wanted = units.whole(replicas, field="replicas")
    request = pb.ResizeJobRequest(job_id=job_id, role=role, replicas=wanted)
    answer: pb.ResizeJobResponse = yield Call("scheduler", "ResizeJob", request)
    return read_job(answer.job)


def explain(job_id: str) -> Operation[Explanation]:
    """Why the job waits, and behind what."""
    request = pb.ExplainJobRequest(job_id=job_id)
    answer: pb.ExplainJobResponse = yield Call("scheduler", "ExplainJob", request)
    return read_explanation(answer)


def _for_each(
    method: str, job_ids: Sequence[str], request: Callable[[Sequence[str]], Message]
) -> Operation[list[JobInfo]]:
    """One request for each thousand jobs; none for none."""
    changed: list[JobInfo] = []
    for start in range(0, len(job_ids), _MOST_AT_ONCE):
        part = request(job_ids[start : start + _MOST_AT_ONCE])
        answer = yield Call("scheduler", method, part)
        changed += [read_job(job) for job in answer.jobs]
    return changed


def _drafts(requests: Sequence[JobRequest], defaults: Defaults, folder: Path) -> list[JobDraft]:
    """A draft of each; those that differ by their arguments alone are looked at once."""
    alike: dict[bytes, JobDraft] = {}
    drafts = []
    for request in requests:
        command = request.get("command")
        options = {word: value for word, value in request.items() if word != "command"}
        key = words_in_common(command, options)
        first = alike.get(key) if key else None
        if first is not None:
            drafts.append(first.with_command(cast("list[str]", command)))
            continue
        draft = job_draft(
            command,
            cast("JobOptions", options),
            folder=folder,
            project=defaults.project,
            queue=defaults.queue,
        )
        drafts.append(draft)
        if key:
            alike[key] = draft
    return drafts


def send_files(connection: Connection, drafts: Sequence[JobDraft]) -> list[list[list[ObjectRef]]]:
    """Store every file of the drafts; one that is there already is not sent again."""
    from concurrent.futures import ThreadPoolExecutor

    from gridloom.objects import ObjectsClient

    sources = [file.source for draft in drafts for files in draft.files for file in files]
    if not sources:
        return [[[] for _ in draft.files] for draft in drafts]
    store = partial(_stored, ObjectsClient(connection))
    # Most files are small: what takes long is waiting for the answers.
    with ThreadPoolExecutor(min(_SENT_AT_ONCE, len(sources))) as threads:
        refs = threads.map(store, sources)
        return [[[next(refs) for _ in files] for files in draft.files] for draft in drafts]


def _stored(objects: ObjectsClient, source: Path | bytes) -> ObjectRef:
    from gridloom.api.objects.v1 import objects_pb2

    if isinstance(source, bytes):
        digest = objects.put_bytes(source)
        return objects_pb2.ObjectRef(digest=digest, size_bytes=len(source))
    return objects.put_file(source)


def _log_tail(job: JobInfo) -> Operation[str]:
    """What it wrote last; nothing where that cannot be had: it must not hide the failure."""
    if job.started_at is None:
        return ""
    query = LogQuery(job.id, tail=TAIL_LINES)
    try:
        lines = yield Collect(LineReading(query))
    except GridloomError:
        return ""
    return tail_text(lines)
