"""The composition root: the only place that names concrete parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.api.mpi.v1 import mpi_pb2_grpc

from gridloom_services.common.worker_images import worker_images
from gridloom_services.mpi.jobs import SchedulerJobs
from gridloom_services.mpi.service import MpiServicer

if TYPE_CHECKING:
    import grpc

    from gridloom_services.common.app import PlatformContext
    from gridloom_services.mpi.settings import MpiSettings

SERVICE = "gridloom.api.mpi.v1.MpiService"


async def build(context: PlatformContext, settings: MpiSettings) -> MpiApp:
    """Compose the service. It keeps nothing: what it accepts is the scheduler's at once."""
    images = worker_images(settings.worker_images, "GRIDLOOM_MPI_WORKER_IMAGES")
    return MpiApp(MpiServicer(SchedulerJobs(context.channels), settings.implementation, images))


class MpiApp:
    """The mpi service in a process."""

    name = "mpi"
    grpc_services = (SERVICE,)
    gang_methods: frozenset[str] = frozenset()

    def __init__(self, servicer: MpiServicer) -> None:
        self._servicer = servicer

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the servicer."""
        mpi_pb2_grpc.add_MpiServiceServicer_to_server(self._servicer, server)

    async def start(self) -> None:
        """There is nothing to take up."""

    async def drain(self) -> None:
        """Submissions that are under way come to their end by themselves."""

    async def stop(self) -> None:
        """There is nothing to let go."""

    def is_idle(self) -> bool:
        """Jobs are the scheduler's work."""
        return True
