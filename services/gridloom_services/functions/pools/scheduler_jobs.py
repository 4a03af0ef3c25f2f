"""The door to the scheduler by its API."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import grpc
from gridloom.api.scheduler.v1 import job_pb2, scheduler_pb2, scheduler_pb2_grpc

from gridloom_services.common.errors import (
    ConflictError,
    GridloomServiceError,
    InternalError,
    StorageFullError,
    UnauthenticatedError,
    UnavailableError,
)
from gridloom_services.common.statuses import error_of
from gridloom_services.functions.pools.jobs import ROLE, JobIsOverError, JobNews
from gridloom_services.functions.pools.sizing import Demand
from gridloom_services.functions.pools.wire import job_spec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from gridloom_services.common.channels import Channels
    from gridloom_services.functions.pools.jobs import PoolJob

_log = logging.getLogger(__name__)
_TIMEOUT_S = 10.0
_PAUSE_S = 0.2

# None of these is the pool's fault: each is worth another try.
_OF_THE_MOMENT = (UnavailableError, StorageFullError, InternalError, UnauthenticatedError)
_RUNNING = {job_pb2.JOB_STATE_RUNNING}
_ENDED = {
    job_pb2.JOB_STATE_SUCCEEDED,
    job_pb2.JOB_STATE_FAILED,
    job_pb2.JOB_STATE_CANCELLED,
}


class SchedulerPoolJobs:
    """Pools' jobs on the real scheduler."""

    def __init__(self, channels: Channels, surroundings: Callable[[], Mapping[str, str]]) -> None:
        self._channels = channels
        self._surroundings = surroundings

    @property
    def _stub(self) -> scheduler_pb2_grpc.SchedulerServiceAsyncStub:
        channel = self._channels.channel("scheduler")
        return scheduler_pb2_grpc.SchedulerServiceStub(channel)

    async def validate(self, job: PoolJob) -> None:
        """The scheduler checks the job as if it were submitted, and keeps nothing."""
        await self._submitted(job, validate_only=True)

    async def submit(self, job: PoolJob) -> str:
        """One job with one elastic role, whose replicas on a node share a host process."""
        try:
            found = await self._submitted(job)
        except ConflictError as error:
            found = await self._asked_before(job, error)
        if found.state in _ENDED:
            raise JobIsOverError(found.id)
        return found.id

    async def _asked_before(self, job: PoolJob, conflict: ConflictError) -> job_pb2.Job:
        """The job of this request, which a process that died has made with other workers."""
        if "job_id" not in conflict.details:
            raise conflict
        request = scheduler_pb2.GetJobRequest(job_id=conflict.details["job_id"])
        try:
            answer = await self._stub.GetJob(
                request, metadata=self._channels.metadata, timeout=_TIMEOUT_S
            )
        except grpc.aio.AioRpcError as error:
            raise _refusal(error) from error
        if answer.job.state not in _ENDED:
            await self.resize(answer.job.id, job.workers)
        return answer.job

    async def _submitted(self, job: PoolJob, *, validate_only: bool = False) -> job_pb2.Job:
        request = scheduler_pb2.SubmitJobsRequest(
            jobs=[job_spec(job, self._surroundings())], validate_only=validate_only
        )
        try:
            answer = await self._stub.SubmitJobs(
                request, metadata=self._channels.metadata, timeout=_TIMEOUT_S
            )
        except grpc.aio.AioRpcError as error:
            raise _refusal(error) from error
        return answer.jobs[0]

    async def resize(self, job_id: str, workers: int) -> None:
        """Growth waits in the queue, shrinking is at once."""
        request = scheduler_pb2.ResizeJobRequest(job_id=job_id, role=ROLE, replicas=workers)
        try:
            await self._stub.ResizeJob(
                request, metadata=self._channels.metadata, timeout=_TIMEOUT_S
            )
        except grpc.aio.AioRpcError as error:
            raise _refusal(error) from error

    async def cancel(self, job_id: str, reason: str) -> None:
        """The scheduler's grace applies."""
        request = scheduler_pb2.CancelJobsRequest(job_ids=[job_id], reason=reason)
        try:
            await self._stub.CancelJobs(
                request, metadata=self._channels.metadata, timeout=_TIMEOUT_S
            )
        except grpc.aio.AioRpcError as error:
            raise _refusal(error) from error

    async def news(self) -> AsyncIterator[JobNews]:
        """Watch all jobs of kind "pool"; after a break, from the present state again."""
        request = scheduler_pb2.WatchJobsRequest(filter=scheduler_pb2.JobFilter(kind="pool"))
        while True:
            try:
                watch = self._stub.WatchJobs(request, metadata=self._channels.metadata)
                async for each in watch:
                    if each.HasField("job"):
                        yield _news(each.job)
            except grpc.aio.AioRpcError as error:
                _log.debug("the watch of pools' jobs broke: %s", error.details())
            await asyncio.sleep(_PAUSE_S)

    async def demand(self, own: Sequence[str]) -> AsyncIterator[Demand]:
        """Watch who else waits; after a break, again."""
        request = scheduler_pb2.WatchDemandRequest(except_job_ids=own)
        while True:
            try:
                watch = self._stub.WatchDemand(request, metadata=self._channels.metadata)
                async for each in watch:
                    waiting = frozenset(each.waiting_own_job_ids)
                    yield Demand(each.waiting_jobs, dict(each.capacity), waiting)
            except grpc.aio.AioRpcError as error:
                _log.debug("the watch of demand broke: %s", error.details())
            await asyncio.sleep(_PAUSE_S)


def _news(job: job_pb2.Job) -> JobNews:
    return JobNews(
        job.id,
        running=job.state in _RUNNING,
        ended=job.state in _ENDED,
        failed=job.state == job_pb2.JOB_STATE_FAILED,
        reason=job.reason,
    )


def _refusal(error: grpc.aio.AioRpcError) -> GridloomServiceError:
    """What the scheduler said, as it said it; UnavailableError for what may be over soon."""
    said = error_of(error)
    if said is None or isinstance(said, _OF_THE_MOMENT):
        return UnavailableError(error.details() or f"the scheduler answered {error.code().name}")
    return said
