"""What a pool host is told when it starts, read once."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gridloom.api.functions.v1 import pool_pb2, worker_pb2
from gridloom.version import PROTOCOL
from gridloom.worker.seat import DEFAULT_SLOTS, PYTHON_VERSION, PoolSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PATIENCE_S = 120.0
# How numerical libraries learn how many threads they may have; else each takes the whole machine.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
_DEFAULT_MILLICPUS = 1000
# Below this a worker of Python cannot live.
_LEAST_MEMORY_BYTES = 32 * 1024 * 1024


class HostSettings(NamedTuple):
    """Whose workers these are, and where they report.

    `patience_s` is how long the host outlives a service that has gone. `thread_limits` belong into
    the workers' environment.
    """

    pool: PoolSettings
    host_id: str
    patience_s: float
    thread_limits: Mapping[str, str]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> HostSettings:
        """Read what the pool's job has put into the environment.

        KeyError where something is missing, ValueError where something is not what it should be.
        """
        spec = pool_pb2.PoolSpec.FromString(base64.b64decode(environment["GRIDLOOM_POOL_SPEC"]))
        job, attempt = environment["GRIDLOOM_JOB_ID"], environment["GRIDLOOM_ATTEMPT"]
        node = environment.get("GRIDLOOM_NODE") or "local"
        # A node may have several hosts of a job: what it grows by may get pods of its own.
        first = environment.get("GRIDLOOM_REPLICA_INDEX") or "0"
        patience = environment.get("GRIDLOOM_POOL_PATIENCE_S")
        return cls(
            pool=pool_settings(spec, environment),
            host_id=f"{job}.a{attempt}.{node}.{first}",
            patience_s=float(patience) if patience else DEFAULT_PATIENCE_S,
            thread_limits=thread_limits(spec, environment),
        )

    def hello(self, pid: int) -> worker_pb2.WorkerFrame:
        """The host's first frame."""
        return worker_pb2.WorkerFrame(
            hello=worker_pb2.WorkerHello(
                protocol=PROTOCOL,
                token=self.pool.token,
                pool_id=self.pool.pool_id,
                kind=worker_pb2.WorkerHello.KIND_HOST,
                worker_id=self.host_id,
                host_id=self.host_id,
                pid=pid,
                python=PYTHON_VERSION,
            )
        )


def thread_limits(spec: pool_pb2.PoolSpec, environment: Mapping[str, str]) -> dict[str, str]:
    """What is to be set so that a library takes as many threads as its worker has processors."""
    threads = max((spec.resources.get("cpu", 0) or _DEFAULT_MILLICPUS) // 1000, 1)
    return {name: str(threads) for name in _THREAD_VARIABLES if name not in environment}


def pool_settings(spec: pool_pb2.PoolSpec, environment: Mapping[str, str]) -> PoolSettings:
    """A pool's specification as its workers need it."""
    folder = Path(environment.get("GRIDLOOM_WORKDIR") or Path.cwd())
    concurrency = spec.concurrency or pool_pb2.CONCURRENCY_PROCESSES
    memory = spec.resources.get("memory", 0)
    return PoolSettings(
        pool_id=environment["GRIDLOOM_POOL_ID"],
        token=environment.get("GRIDLOOM_TOKEN", ""),
        socket_path=environment.get("GRIDLOOM_FUNCTIONS_SOCKET", ""),
        address=environment.get("GRIDLOOM_ADDRESS", ""),
        functions_address=environment.get("GRIDLOOM_FUNCTIONS_ADDRESS", ""),
        ca_file=environment.get("GRIDLOOM_TLS_CA_FILE", ""),
        home=environment.get("GRIDLOOM_HOME", ""),
        folder=folder / ".gridloom-modules",
        concurrency=concurrency,
        slots=spec.slots or DEFAULT_SLOTS.get(concurrency, 1),
        memory_bytes=max(memory, _LEAST_MEMORY_BYTES) if memory else 0,
        initializer=spec.initializer,
        bundle=spec.bundle.digest,
    )
