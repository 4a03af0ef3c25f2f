"""The door to the scheduler, by its API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import grpc
from gridloom.api.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc

from gridloom_services.common.errors import UnavailableError
from gridloom_services.common.statuses import error_of

if TYPE_CHECKING:
    from gridloom.api.scheduler.v1 import job_pb2

    from gridloom_services.common.channels import Channels

_TIMEOUT_S = 30.0

Words = tuple[tuple[str, str], ...]


class Jobs(Protocol):
    """Takes jobs."""

    async def submit(
        self, spec: job_pb2.JobSpec, caller: Words, *, validate_only: bool
    ) -> job_pb2.Job:
        """The job, accepted for good unless it was only looked at. A refusal is one of ours."""
        ...


class SchedulerJobs:
    """Jobs of the real scheduler, submitted with the words by which the caller came to us."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels

    async def submit(
        self, spec: job_pb2.JobSpec, caller: Words, *, validate_only: bool
    ) -> job_pb2.Job:
        """One job."""
        stub = scheduler_pb2_grpc.SchedulerServiceStub(self._channels.channel("scheduler"))
        request = scheduler_pb2.SubmitJobsRequest(jobs=[spec], validate_only=validate_only)
        try:
            answer = await stub.SubmitJobs(request, metadata=caller, timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            said = error_of(error) or UnavailableError(
                error.details() or f"the scheduler answered {error.code().name}"
            )
            raise said from error
        return answer.jobs[0]
