"""The stubs of the services, by the word that names each everywhere."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import grpc

_STUBS = {
    "scheduler": ("gridloom.api.scheduler.v1.scheduler_pb2_grpc", "SchedulerServiceStub"),
    "access": ("gridloom.api.scheduler.v1.access_pb2_grpc", "AccessServiceStub"),
    "functions": ("gridloom.api.functions.v1.functions_pb2_grpc", "FunctionsServiceStub"),
    "mpi": ("gridloom.api.mpi.v1.mpi_pb2_grpc", "MpiServiceStub"),
    "objects": ("gridloom.api.objects.v1.objects_pb2_grpc", "ObjectsServiceStub"),
}


def new_stub(service: str, channel: grpc.Channel | grpc.aio.Channel) -> Any:
    """The service's stub on this channel; its module is imported at the first use."""
    module, name = _STUBS[service]
    return getattr(import_module(module), name)(channel)
