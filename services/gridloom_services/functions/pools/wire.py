"""Pools as messages: specifications in, pools and scheduler jobs out."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from gridloom.api.functions.v1 import pool_pb2
from gridloom.api.scheduler.v1 import job_pb2

from gridloom_services.common.errors import InvalidRequestError
from gridloom_services.functions.pools.jobs import ROLE
from gridloom_services.functions.pools.spec import (
    DEFAULT_IDLE_TIMEOUT_S,
    Concurrency,
    PoolSpec,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom_services.functions.pools.jobs import PoolJob
    from gridloom_services.functions.pools.pool import Pool
    from gridloom_services.functions.pools.sizing import PoolLoad

# For the pool's host, which is to be small and quiet: one thread, no compilation at start.
_HOST = ("-m", "gridloom.worker.pool_host")


def pool_spec(message: pool_pb2.PoolSpec, project: str) -> PoolSpec:
    """The specification; `project` where it names none. InvalidRequestError: unknown concurrency.

    The body is deterministic, so that equal specifications are equal bytes.
    """
    spec = pool_pb2.PoolSpec()
    spec.CopyFrom(message)
    spec.project = message.project or project
    spec.concurrency = message.concurrency or pool_pb2.CONCURRENCY_PROCESSES
    return spec_of_body(spec.SerializeToString(deterministic=True))


def spec_of_body(body: bytes) -> PoolSpec:
    """The specification that the store holds as bytes."""
    spec = pool_pb2.PoolSpec.FromString(body)
    if int(spec.concurrency) not in set(Concurrency):
        raise InvalidRequestError(
            f"concurrency {spec.concurrency} is unknown; allowed: processes, threads, asyncio",
            field="concurrency",
            given=spec.concurrency,
        )
    idle = (
        spec.idle_timeout.ToTimedelta().total_seconds() if spec.HasField("idle_timeout") else None
    )
    limit = spec.time_limit.ToTimedelta().total_seconds() if spec.HasField("time_limit") else None
    return PoolSpec(
        body=body,
        project=spec.project,
        name=spec.name,
        queue=spec.queue,
        workers=spec.workers,
        min_workers=spec.min_workers,
        concurrency=Concurrency(spec.concurrency),
        slots=spec.slots,
        resources=dict(spec.resources),
        idle_timeout_s=DEFAULT_IDLE_TIMEOUT_S if idle is None else idle,
        python=spec.python,
        python_version=spec.python_version,
        image=spec.image,
        env=dict(spec.env),
        labels=dict(spec.labels),
        priority=spec.priority,
        time_limit_s=limit,
        objects=(*spec.objects, *([spec.bundle.digest] if spec.bundle.digest else ())),
    )


def pool_message(pool: Pool, load: PoolLoad) -> pool_pb2.Pool:
    """What users see of a pool."""
    message = pool_pb2.Pool(
        id=pool.id,
        spec=pool_pb2.PoolSpec.FromString(pool.row.body),
        state=pool_pb2.PoolState.ValueType(pool.row.state),
        job_id=pool.row.job_id,
        workers=load.workers,
        busy=load.busy,
        queued_calls=load.waiting,
        running_calls=load.running,
        reason=pool.reason,
    )
    message.spec.ClearField("initializer")
    message.created_at.FromMicroseconds(int(pool.row.created_at * 1e6))
    return message


def job_spec(job: PoolJob, surroundings: Mapping[str, str]) -> job_pb2.JobSpec:
    """The scheduler job that holds a pool's workers; `surroundings` tell them where to report."""
    spec = job.spec
    told = {
        **spec.env,
        **surroundings,
        "GRIDLOOM_POOL_ID": job.pool_id,
        "GRIDLOOM_POOL_SPEC": base64.b64encode(spec.body).decode(),
    }
    role = job_pb2.Role(
        name=ROLE,
        replicas=job.workers,
        min_replicas=1,
        colocate=True,
        image=spec.image,
        command=[spec.python or "python3", *_HOST],
        env=told,
        resources=spec.resources,
    )
    message = job_pb2.JobSpec(
        name=spec.name or "pool",
        project=spec.project,
        queue=spec.queue,
        priority=spec.priority,
        kind="pool",
        roles=[role],
        labels={**spec.labels, "gridloom/pool": job.pool_id},
        request_id=job.request_id,
    )
    if spec.time_limit_s is not None:
        message.time_limit.FromMicroseconds(int(spec.time_limit_s * 1e6))
    return message
