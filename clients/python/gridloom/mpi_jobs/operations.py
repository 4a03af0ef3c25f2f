"""What is done with MPI jobs, written once for every face: see `gridloom.operation`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.api.mpi.v1 import mpi_pb2
from gridloom.api.objects.v1 import objects_pb2
from gridloom.calls.client import interpreter
from gridloom.jobs import operations
from gridloom.jobs.info import read_job
from gridloom.jobs.states import JobState
from gridloom.jobs.watch import EndWatch
from gridloom.mpi_jobs.outcome import failure_of_ranks, values_of
from gridloom.operation import Blocking, Call, Collect
from gridloom.worker.mpi.report import Report, decoded

if TYPE_CHECKING:
    from typing import Any

    from gridloom.channel import Connection
    from gridloom.jobs.info import JobInfo
    from gridloom.mpi_jobs.request import MpiDraft
    from gridloom.operation import Operation

_FOLDER = ".gridloom-mpi/"


def submit(draft: MpiDraft) -> Operation[JobInfo]:
    """Send the files, ask for the job."""
    validate_only = bool(draft.options.get("validate_only"))
    spec: mpi_pb2.MpiJobSpec = yield Blocking(
        lambda connection: _sent(connection, draft, is_sent=not validate_only)
    )
    request = mpi_pb2.SubmitMpiJobRequest(spec=spec, validate_only=validate_only)
    answer: mpi_pb2.SubmitMpiJobResponse = yield Call("mpi", "SubmitMpiJob", request)
    return read_job(answer.job)


def begun(job_id: str) -> Operation[None]:
    """Return when the job runs. The error of one that has ended instead."""
    yield Collect(BeginWatch(job_id))
    job = yield from operations.get(job_id)
    if job.state.is_final:
        raise (yield from failure(job))


class BeginWatch(EndWatch):
    """Over when the job runs, or has ended."""

    def __init__(self, job_id: str) -> None:
        self._has_begun = False
        super().__init__([job_id], self._look)

    def _look(self, job: JobInfo) -> None:
        self._has_begun |= job.state is JobState.RUNNING

    @property
    def over(self) -> bool:
        """It runs, or will not."""
        return self._has_begun or super().over


def report_of(job: JobInfo) -> Operation[Report | None]:
    """What became of each rank; None where nobody could say."""
    for output in job.outputs:
        if output.path.startswith(_FOLDER) and output.path.endswith("/report"):
            data = yield Blocking(lambda connection: _content(connection, output.digest))  # noqa: B023
            return decoded(data)
    return None


def results(job: JobInfo) -> Operation[list[Any]]:
    """Each rank's result, of a job that is over; what went wrong is raised."""
    if job.state is not JobState.SUCCEEDED:
        raise (yield from failure(job))
    report = yield from report_of(job)
    return values_of(job, report)


def failure(job: JobInfo) -> Operation[BaseException]:
    """The error of a job that is over without success, with its rank."""
    report = yield from report_of(job)
    known = yield from operations.failure(job, with_log=report is None or not report.has_words)
    return failure_of_ranks(job, known, report)


def _sent(connection: Connection, draft: MpiDraft, *, is_sent: bool) -> mpi_pb2.MpiJobSpec:
    job = draft.job.spec
    if is_sent:
        (refs,) = operations.send_files(connection, [draft.job])
        job = draft.job.with_objects(refs)
    spec = draft.spec(job, interpreter(connection))
    function = draft.function
    if function is not None:
        spec.function.call.CopyFrom(_stored(connection, function.call, is_sent=is_sent))
        if function.bundle:
            spec.function.bundle.CopyFrom(_stored(connection, function.bundle, is_sent=is_sent))
    return spec


def _stored(connection: Connection, data: bytes, *, is_sent: bool) -> objects_pb2.ObjectRef:
    from gridloom.objects import ObjectsClient, digest_of

    digest = ObjectsClient(connection).put_bytes(data) if is_sent else digest_of(data)
    return objects_pb2.ObjectRef(digest=digest, size_bytes=len(data))


def _content(connection: Connection, digest: str) -> bytes:
    from gridloom.objects import ObjectsClient

    return bytes(ObjectsClient(connection).get_bytes(digest))
