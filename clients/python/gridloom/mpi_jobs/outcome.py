"""What ranks left behind as Python values, and as the error of the rank that failed."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from gridloom import errors
from gridloom.jobs.outcome import name_of
from gridloom.jobs.states import JobState
from gridloom.worker.mpi.names import ERROR

if TYPE_CHECKING:
    from gridloom.jobs.info import JobInfo
    from gridloom.worker.mpi.report import Answer, Failure, Report


def values_of(job: JobInfo, report: Report | None) -> list[Any]:
    """The results by rank."""
    if report is None:
        raise errors.InternalError(f"{name_of(job)} succeeded and left no results")
    return [open_value(each) for each in report.answers]


def open_value(answer: Answer) -> Any:
    """One rank's result; None where it was not kept."""
    return pickle.loads(answer.data) if answer.data else None  # noqa: S301  # the user's own


def failure_of_ranks(
    job: JobInfo, known: errors.GridloomError, report: Report | None
) -> BaseException:
    """The error to raise: what a rank's function raised, or the job's own with rank and cause."""
    if report is None or report.failure is None or job.state is JobState.CANCELLED:
        return known
    ranks = len(report.answers)
    for answer in report.answers:
        if answer.kind == ERROR and answer.rank == report.failure.rank:
            return raised_on(answer, job.id, job.roles[0].replicas if job.roles else ranks)
    return with_rank(job, report.failure, known)


def raised_on(answer: Answer, job_id: str, ranks: int) -> BaseException:
    """What a rank raised, as itself; a note and its cause name the rank."""
    from gridloom.api.functions.v1 import call_pb2

    error = call_pb2.CallError.FromString(answer.data)
    where = f"rank {answer.rank} of {ranks} of {job_id}"
    error.traceback = f"{where}:\n{error.traceback}"
    exception = errors.exception_from_call_error(call_pb2.CALL_STATUS_ERROR, error)
    exception.add_note(f"raised on {where}")
    if isinstance(exception, errors.GridloomError):
        exception.details.setdefault("rank", str(answer.rank))
    return exception


def with_rank(
    job: JobInfo, failure: Failure, known: errors.GridloomError | None = None
) -> errors.GridloomError:
    """What ranks and agent say of a failure, as the error of its kind."""
    known = known or errors.JobFailedError()
    stacks = "\n".join(f"rank {rank}:\n{stack}" for rank, stack in failure.stacks.items())
    details: dict[str, object] = {
        "job_id": job.id,
        "exit_code": failure.exit_code,
        "signal": failure.signal,
        "log_tail": stacks or known.details.get("log_tail"),
        "rank": failure.rank if failure.rank >= 0 else None,
    }
    kind = errors.TimeLimitError if failure.is_timeout else type(known)
    return kind(f"{name_of(job)} failed: {failure.reason}", **details)
