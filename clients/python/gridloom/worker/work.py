"""The ways in which a worker can run calls, by the pool's word for them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gridloom.api.functions.v1 import pool_pb2
from gridloom.worker.frames import connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom.worker.seat import PoolSettings, Seat

_WORKERS = {
    pool_pb2.CONCURRENCY_PROCESSES: ("gridloom.worker.process_worker", "ProcessWorker"),
    pool_pb2.CONCURRENCY_THREADS: ("gridloom.worker.thread_worker", "ThreadWorker"),
    pool_pb2.CONCURRENCY_ASYNCIO: ("gridloom.worker.asyncio_worker", "AsyncioWorker"),
}


def work_of(pool: PoolSettings) -> Callable[[Seat], None]:
    """What a worker of the pool does from its first moment to its last.

    Everything that it needs is imported here, once for all workers.
    """
    import_module("cloudpickle")
    module, name = _WORKERS[pool_pb2.Concurrency.ValueType(pool.concurrency)]
    worker: Any = getattr(import_module(module), name)

    def work(seat: Seat) -> None:
        worker(seat, lambda: connect(pool.socket_path)).serve()

    return work
