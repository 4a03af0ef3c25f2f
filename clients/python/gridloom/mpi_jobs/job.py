"""The handles of MPI jobs, one for each face."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gridloom import units
from gridloom.jobs import operations as job_operations
from gridloom.jobs.async_handle import AsyncJob
from gridloom.jobs.handle import Job
from gridloom.jobs.logs import LogQuery
from gridloom.jobs.outcome import result_of
from gridloom.jobs.states import JobState
from gridloom.mpi_jobs import operations
from gridloom.mpi_jobs.logs import RankReading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from gridloom.jobs.info import JobInfo
    from gridloom.jobs.outcome import JobResult


class MpiJob(Job):
    """An MPI program on the platform: a job whose replicas are ranks.

    `logs(index=3)` are the lines of rank 3, as `logs(rank=3)`; of all ranks, each line has its
    rank before it. `result()` raises with the rank that failed first, in the error's `rank`.
    """

    def result(
        self, timeout: units.Duration | None = None, *, progress: bool | None = None
    ) -> JobResult:
        """Wait, then the result. A failure names its rank and cause."""
        if self.wait(timeout, progress=progress) is JobState.SUCCEEDED:
            return result_of(self.info)
        raise self._client.connection.run(operations.failure(self.info))

    def logs(
        self,
        follow: bool = False,  # noqa: FBT001, FBT002  # as of every job
        role: str | None = None,
        index: int | None = None,
        *,
        rank: int | None = None,
        tail: int | None = None,
        stream: str = "both",
        attempt: int | None = None,
    ) -> Iterator[str]:
        """The lines of one rank, or of all: "[3] ..."."""
        chosen = _chosen(self.info, rank, index)
        query = LogQuery(self.id, follow, role, chosen, tail, stream, attempt)
        lines = self._client.connection.follow(RankReading(query))
        return (_text(line.rank, line.text, chosen) for line in lines)


class AsyncMpiJob(AsyncJob):
    """The same for an event loop, awaited."""

    async def result(
        self,
        timeout: units.Duration | None = None,  # noqa: ASYNC109  # the same word in both faces
        *,
        progress: bool | None = None,
    ) -> JobResult:
        """Wait, then the result. A failure names its rank and cause."""
        if await self.wait(timeout, progress=progress) is JobState.SUCCEEDED:
            return result_of(self.info)
        raise await self._client.connection.run(operations.failure(self.info))

    async def logs(
        self,
        follow: bool = False,  # noqa: FBT001, FBT002
        role: str | None = None,
        index: int | None = None,
        *,
        rank: int | None = None,
        tail: int | None = None,
        stream: str = "both",
        attempt: int | None = None,
    ) -> AsyncIterator[str]:
        """The lines of one rank, or of all: "[3] ..."."""
        chosen = _chosen(self.info, rank, index)
        query = LogQuery(self.id, follow, role, chosen, tail, stream, attempt)
        async for line in self._client.connection.follow(RankReading(query)):
            yield _text(line.rank, line.text, chosen)


def results_when_over(job: Job) -> list[Any]:
    """Wait, then each rank's result; what a rank raised is raised."""
    client = job._client  # noqa: SLF001  # a handle of ours
    info = client.connection.run(job_operations.ended(job.id, None))
    job.saw(info)
    return client.connection.run(operations.results(info))


def _chosen(job: JobInfo, rank: int | None, index: int | None) -> int | None:
    chosen = index if rank is None else rank
    ranks = sum(role.replicas for role in job.roles)
    return None if chosen is None else units.whole(chosen, field="rank", most=ranks - 1)


def _text(rank: int | None, text: str, chosen: int | None) -> str:
    return text if chosen is not None or rank is None else f"[{rank}] {text}"
