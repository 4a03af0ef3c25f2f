"""Between protobuf and the service's values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.api.mpi.v1 import mpi_pb2
from gridloom.api.scheduler.v1 import job_pb2

from gridloom_services.common.errors import InvalidRequestError
from gridloom_services.mpi.request import Function, MpiRequest

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration

    from gridloom_services.mpi.gang import RankGang

KIND = "mpi"


def request_of(spec: mpi_pb2.MpiJobSpec) -> MpiRequest:
    """The request as a value, unchecked. What has no place in it is refused."""
    if spec.job.roles or spec.job.HasField("array"):
        raise InvalidRequestError("an MPI job has ranks, no roles and no array", field="job.roles")
    rank = spec.rank
    return MpiRequest(
        ranks=rank.replicas,
        per_node=rank.per_node,
        command=tuple(rank.command),
        function=_function(spec.function) if spec.HasField("function") else None,
        implementation=spec.implementation,
        threads=spec.threads,
        is_bound=spec.binding == mpi_pb2.MPI_BINDING_CORE,
        timeout_s=_seconds(spec.timeout) if spec.HasField("timeout") else None,
        time_limit_s=_seconds(spec.job.time_limit) if spec.job.HasField("time_limit") else None,
        idle_timeout_s=_seconds(spec.idle_timeout) if spec.HasField("idle_timeout") else None,
        resources=dict(rank.resources),
        env=dict(rank.env),
        image=rank.image,
        python=spec.python,
        python_version=spec.python_version,
        key=f"{spec.job.project}\n{spec.job.request_id}",
    )


def job_spec(spec: mpi_pb2.MpiJobSpec, gang: RankGang) -> job_pb2.JobSpec:
    """The job of the scheduler: what was said of it, with the gang as its only role."""
    job, role = job_pb2.JobSpec(), job_pb2.Role()
    job.CopyFrom(spec.job)
    role.CopyFrom(spec.rank)
    role.name, role.replicas, role.min_replicas = gang.role, gang.replicas, 0
    role.colocate, role.per_node, role.image = gang.colocate, gang.per_node, gang.image
    role.command[:] = gang.command
    role.env.clear()
    role.env.update(gang.env)
    role.outputs.extend(gang.outputs)
    objects = {"call": spec.function.call, "bundle": spec.function.bundle}
    for name, path in gang.files.items():
        role.files.add(path=path, object=objects[name])
    job.roles.append(role)
    job.kind = KIND
    return job


def _function(message: mpi_pb2.MpiFunction) -> Function:
    if not message.call.digest:
        raise InvalidRequestError("a function needs its call", field="function.call")
    return Function(message.name or "function", bool(message.bundle.digest), message.root_only)


def _seconds(duration: Duration) -> float:
    return duration.ToTimedelta().total_seconds()
