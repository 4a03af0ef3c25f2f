"""How a job ended: its result, or the error of its failure class."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from gridloom import errors, units
from gridloom.jobs.states import FailureClass, JobState
from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gridloom.jobs.info import JobInfo, OutputInfo
    from gridloom.jobs.logs import LogLine

TAIL_LINES = 20
_NUMBERS_SHOWN = 10

_ERRORS: dict[FailureClass | None, type[errors.JobError]] = {
    FailureClass.APPLICATION_ERROR: errors.JobFailedError,
    FailureClass.OUT_OF_MEMORY: errors.OutOfMemoryError,
    FailureClass.NODE_LOST: errors.NodeLostError,
    FailureClass.IMAGE_NOT_FOUND: errors.ImageNotFoundError,
    FailureClass.TIME_LIMIT: errors.TimeLimitError,
    FailureClass.PREEMPTED: errors.PreemptedError,
    FailureClass.CANCELLED: errors.CancelledError,
    FailureClass.EVICTED: errors.EvictedError,
    FailureClass.UNSCHEDULABLE: errors.UnschedulableError,
}


@dataclass(frozen=True, slots=True)
class JobResult:
    """What a job that succeeded came to. Seconds are of its last attempt."""

    job_id: str
    exit_code: int
    run_s: float
    cpu_seconds: float
    peak_memory_bytes: int
    outputs: tuple[OutputInfo, ...]


def result_of(job: JobInfo) -> JobResult:
    """The result of a job that has succeeded."""
    return JobResult(
        job_id=job.id,
        exit_code=job.exit_code or 0,
        run_s=job.run_s() or 0.0,
        cpu_seconds=job.cpu_seconds,
        peak_memory_bytes=job.peak_memory_bytes,
        outputs=job.outputs,
    )


def failure_of(job: JobInfo, *, culprit: JobInfo, tail: str = "") -> errors.JobError:
    """The error of a job that did not succeed; `culprit` is itself or its failed element."""
    if job.state is JobState.CANCELLED:
        kind: type[errors.JobError] = errors.CancelledError
    else:
        kind = _ERRORS.get(culprit.failure_class, errors.JobFailedError)
    return kind(
        f"{name_of(job)} {_what_happened(job, culprit)}",
        job_id=culprit.id,
        exit_code=culprit.exit_code,
        signal=culprit.signal,
        peak_bytes=culprit.peak_memory_bytes or None,
        limit_bytes=culprit.roles[0].resources.get("memory") if culprit.roles else None,
        log_tail=tail or None,
    )


def name_of(job: JobInfo) -> str:
    """A job as a sentence calls it: its id and, in brackets, its name."""
    return f"{job.id} ({job.name})" if job.name else job.id


def end_words(job: JobInfo) -> str:
    """How it ended, in a few words: "exit code 3", "killed by SIGSEGV", "time limit of 2h"."""
    if job.failure_class is FailureClass.OUT_OF_MEMORY:
        return f"out of memory at {units.format_bytes(job.peak_memory_bytes)}"
    if job.failure_class is FailureClass.TIME_LIMIT and job.time_limit_s:
        return f"over its time limit of {units.format_duration(job.time_limit_s)}"
    if job.signal:
        return f"killed by {signal_name(job.signal)}"
    is_own_failure = job.failure_class in {None, FailureClass.APPLICATION_ERROR}
    if is_own_failure and job.started_at is not None and job.exit_code is not None:
        return f"exit code {job.exit_code}"
    return job.reason or str(job.failure_class or "unknown").lower().replace("_", " ")


def signal_name(number: int) -> str:
    """The signal's name: "SIGKILL" for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def failed_numbers(job: JobInfo) -> list[int]:
    """The numbers of an array's elements that failed, in order."""
    bad = [run for run in job.runs if run.state is JobState.FAILED]
    numbers = list(job.numbers()) if bad else []
    return [number for run in bad for number in numbers[run.first : run.first + run.count]]


def tail_text(lines: Iterable[LogLine]) -> str:
    """The last lines, standard error at the end, where errors are looked for."""
    found: Sequence[LogLine] = sorted(lines, key=lambda line: line.source.is_error)
    return "\n".join(line.text for line in found[-TAIL_LINES:])


def _what_happened(job: JobInfo, culprit: JobInfo) -> str:
    if job.state is JobState.CANCELLED:
        return f"was cancelled: {job.reason}" if job.reason else "was cancelled"
    numbers = failed_numbers(job)
    if not numbers:
        return f"failed: {end_words(job)}"
    shown = ", ".join(str(number) for number in numbers[:_NUMBERS_SHOWN])
    more = ", ..." if len(numbers) > _NUMBERS_SHOWN else ""
    return (
        f"failed: {len(numbers)} of {job.elements} elements ({shown}{more});"
        f" element {numbers[0]}: {end_words(culprit)}"
    )
