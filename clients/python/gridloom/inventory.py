"""Functions and pools as lists: what the platform has, as plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.api.functions.v1 import functions_pb2 as pb
from gridloom.api.functions.v1 import pool_pb2
from gridloom.jobs.times import moment_in, seconds_in
from gridloom.operation import Call
from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from gridloom.operation import Operation


@dataclass(frozen=True, slots=True)
class FunctionInfo:
    """A function that was called here. The counts are of single items."""

    name: str
    digest: str
    queued: int
    running: int
    succeeded: int
    failed: int
    mean_s: float


@dataclass(frozen=True, slots=True)
class PoolInfo:
    """A pool of workers. `most_workers` 0: as many as there is room for."""

    id: str
    name: str
    project: str
    queue: str
    state: str
    reason: str
    concurrency: str
    workers: int
    most_workers: int
    busy: int
    queued_calls: int
    running_calls: int
    resources: Mapping[str, int]
    idle_timeout_s: float | None
    job_id: str
    created_at: datetime | None


def list_functions(project: str) -> Operation[list[FunctionInfo]]:
    """Every function that has been called."""
    request = pb.ListFunctionsRequest(project=project)
    answer: pb.ListFunctionsResponse = yield Call("functions", "ListFunctions", request)
    return [read_function(function) for function in answer.functions]


def list_pools(project: str) -> Operation[list[PoolInfo]]:
    """Every pool that is not closed."""
    request = pb.ListPoolsRequest(project=project)
    answer: pb.ListPoolsResponse = yield Call("functions", "ListPools", request)
    return [read_pool(pool) for pool in answer.pools]


def get_pool(pool_id: str) -> Operation[PoolInfo]:
    """One pool."""
    request = pb.GetPoolRequest(pool_id=pool_id)
    answer: pb.GetPoolResponse = yield Call("functions", "GetPool", request)
    return read_pool(answer.pool)


def close_pool(pool_id: str, *, cancel_running: bool = False) -> Operation[PoolInfo]:
    """End a pool's workers: after the calls they are in, or at once."""
    request = pb.ClosePoolRequest(pool_id=pool_id, cancel_running=cancel_running)
    answer: pb.ClosePoolResponse = yield Call("functions", "ClosePool", request)
    return read_pool(answer.pool)


def read_function(function: pb.FunctionSummary) -> FunctionInfo:
    """The function in this message."""
    return FunctionInfo(
        name=function.name,
        digest=function.digest,
        queued=function.queued,
        running=function.running,
        succeeded=function.succeeded,
        failed=function.failed,
        mean_s=function.mean_seconds,
    )


def read_pool(pool: pool_pb2.Pool) -> PoolInfo:
    """The pool in this message."""
    spec = pool.spec
    return PoolInfo(
        id=pool.id,
        name=spec.name,
        project=spec.project,
        queue=spec.queue,
        state=pool_pb2.PoolState.Name(pool.state).removeprefix("POOL_STATE_"),
        reason=pool.reason,
        concurrency=_concurrency(spec.concurrency),
        workers=pool.workers,
        most_workers=spec.workers,
        busy=pool.busy,
        queued_calls=pool.queued_calls,
        running_calls=pool.running_calls,
        resources=dict(spec.resources),
        idle_timeout_s=seconds_in(spec, "idle_timeout"),
        job_id=pool.job_id,
        created_at=moment_in(pool, "created_at"),
    )


def _concurrency(number: pool_pb2.Concurrency.ValueType) -> str:
    name = pool_pb2.Concurrency.Name(number or pool_pb2.CONCURRENCY_PROCESSES)
    return name.removeprefix("CONCURRENCY_").lower()
