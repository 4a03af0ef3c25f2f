"""Protobuf in, one call of the domain, protobuf out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gridloom.api.mpi.v1 import mpi_pb2, mpi_pb2_grpc

from gridloom_services.common.auth import require_project
from gridloom_services.mpi.gang import rank_gang
from gridloom_services.mpi.request import checked, in_image
from gridloom_services.mpi.wire import job_spec, request_of

if TYPE_CHECKING:
    import grpc

    from gridloom_services.common.worker_images import WorkerImages
    from gridloom_services.mpi.jobs import Jobs

    Context = grpc.aio.ServicerContext[Any, Any]


class MpiServicer(mpi_pb2_grpc.MpiServiceServicer):
    """The mpi service as gRPC sees it."""

    def __init__(self, jobs: Jobs, implementation: str, images: WorkerImages) -> None:
        """`implementation`: of jobs that name none. `images`: of those that name none."""
        self._jobs = jobs
        self._implementation = implementation
        self._images = images

    async def SubmitMpiJob(  # noqa: N802
        self, request: mpi_pb2.SubmitMpiJobRequest, context: Context
    ) -> mpi_pb2.SubmitMpiJobResponse:
        """Compile it, and submit it in the caller's own name."""
        request.spec.job.project = require_project(request.spec.job.project)
        wanted = in_image(checked(request_of(request.spec)), self._images)
        spec = job_spec(request.spec, rank_gang(wanted, self._implementation))
        job = await self._jobs.submit(
            spec, _own_words(context), validate_only=request.validate_only
        )
        return mpi_pb2.SubmitMpiJobResponse(job=job)


def _own_words(context: Context) -> tuple[tuple[str, str], ...]:
    """Who calls, as they said it: the job is theirs, by their rights and not by ours."""
    found = context.invocation_metadata() or ()
    return tuple(
        (key, value) for key, value in found if key == "authorization" and isinstance(value, str)
    )
