"""Following jobs as they change: until one is over, until several are, or for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom import ids
from gridloom.api.scheduler.v1 import scheduler_pb2
from gridloom.jobs.info import JobChange, JobInfo, read_job
from gridloom.operation import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class JobWatch:
    """A `Following` of changes; taken up again after the last revision that was seen."""

    def __init__(self, chosen: scheduler_pb2.JobFilter, *, from_revision: int = 0) -> None:
        self._filter = chosen
        self._revision = from_revision
        self._is_over = False

    def call(self) -> Call:
        """From the last revision on; the present state first where there is none yet."""
        request = scheduler_pb2.WatchJobsRequest(filter=self._filter, from_revision=self._revision)
        return Call("scheduler", "WatchJobs", request)

    def feed(self, answer: scheduler_pb2.WatchJobsResponse) -> Iterable[JobChange]:
        """The job that changed; nothing for the mark after the present state."""
        if answer.synced or not answer.snapshot:
            self._revision = max(self._revision, answer.revision)
        if answer.HasField("job"):
            yield JobChange(answer.revision, read_job(answer.job), answer.snapshot)

    def finish(self) -> Iterable[JobChange]:
        """The platform ends a watch only when it stops; it is taken up then."""
        return ()

    @property
    def over(self) -> bool:
        """A watch goes on until its reader stops."""
        return False


class EndWatch:
    """A `Following` of the ends of jobs and array elements: each id once, over with the last."""

    def __init__(
        self, job_ids: Iterable[str], see: Callable[[JobInfo], None] | None = None
    ) -> None:
        """`see` is shown each job at every change."""
        self._see = see
        self._open: dict[str, set[str]] = {}
        for identifier in job_ids:
            job, _ = ids.split_job_id(identifier)
            self._open.setdefault(job, set()).add(identifier)

    def call(self) -> Call:
        """The present state of the jobs that are still open, then their changes."""
        chosen = scheduler_pb2.JobFilter(job_ids=sorted(self._open))
        return Call("scheduler", "WatchJobs", scheduler_pb2.WatchJobsRequest(filter=chosen))

    def feed(self, answer: scheduler_pb2.WatchJobsResponse) -> Iterable[str]:
        """What is over now and was not before."""
        if not answer.HasField("job"):
            return ()
        job = read_job(answer.job)
        if self._see is not None:
            self._see(job)
        ended = [each for each in self._open.get(job.id, ()) if _is_over(job, each)]
        for identifier in ended:
            self._open[job.id].discard(identifier)
        if not self._open.get(job.id, ended):
            self._open.pop(job.id, None)
        return ended

    def finish(self) -> Iterable[str]:
        """The platform stopped; it is asked again."""
        return ()

    @property
    def over(self) -> bool:
        """All of them have ended."""
        return not self._open


def _is_over(job: JobInfo, identifier: str) -> bool:
    _, element = ids.split_job_id(identifier)
    state = job.state if element is None else job.state_of(element)
    return job.state.is_final or (state is not None and state.is_final)
