"""What takes part, each behind the same five verbs, set up as its own users are told to.

Two workers each, one call at a time in a worker, loopback only. This file runs in the peers' own
environment too: it imports nothing of ours but what a contestant is made of.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

from tests.bench.contest.work import echo, nothing, tiny

WORKERS = 2
_REDIS_PATIENCE_S = 20
_ONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Contestant:
    """`begin` to `end`; in between, calls of functions that do next to nothing."""

    # What alone it takes part in; nothing named: all.
    only: tuple[str, ...] = ()

    def begin(self) -> None:
        raise NotImplementedError

    def submit(self, function: Any, argument: Any) -> Any:
        """A handle of one call."""
        raise NotImplementedError

    def result(self, handle: Any) -> Any:
        raise NotImplementedError

    def results(self, handles: list[Any]) -> list[Any]:
        return [self.result(handle) for handle in handles]

    def map(self, function: Any, count: int) -> list[Any]:
        """The way its manual names for many small calls."""
        raise NotImplementedError

    def array(self, array: Any) -> Any:
        """An array there and back."""
        return self.result(self.submit(echo, array))

    def end(self) -> None:
        raise NotImplementedError


class Gridloom(Contestant):
    """The embedded platform; every call is on disk before it counts as accepted."""

    def begin(self) -> None:
        import gridloom

        self._folder = tempfile.TemporaryDirectory(prefix="gridloom-bench-")
        self._gridloom = gridloom
        self._client = gridloom.connect(home=self._folder.name)
        self._functions: dict[Any, Any] = {}

    def submit(self, function: Any, argument: Any) -> Any:
        known = self._functions.get(function)
        if known is None:
            known = self._functions[function] = self._gridloom.function(function)
        return known.submit(argument)

    def result(self, handle: Any) -> Any:
        return handle.result()

    def map(self, function: Any, count: int) -> list[Any]:
        return list(self._client.map(function, range(count), progress=False))

    def end(self) -> None:
        self._client.close()
        command = [sys.executable, "-m", "gridloom.cli", "down", "--cancel", "--home"]
        subprocess.run([*command, self._folder.name], check=True, stdout=subprocess.DEVNULL)
        self._folder.cleanup()


class GridloomInMemory(Gridloom):
    """Its large payloads in shared memory, as the peers' are: the call itself is on disk."""

    only = ("array",)

    def array(self, array: Any) -> Any:
        return self.result(self._gridloom.function(echo, durable=False).submit(array))


class ProcessPool(Contestant):
    """`concurrent.futures.ProcessPoolExecutor`."""

    def begin(self) -> None:
        self._pool = concurrent.futures.ProcessPoolExecutor(WORKERS)

    def submit(self, function: Any, argument: Any) -> Any:
        return self._pool.submit(function, argument)

    def result(self, handle: Any) -> Any:
        return handle.result()

    def map(self, function: Any, count: int) -> list[Any]:
        return list(self._pool.map(function, range(count), chunksize=100))

    def end(self) -> None:
        self._pool.shutdown()


class Pool(Contestant):
    """`multiprocessing.Pool`."""

    def begin(self) -> None:
        self._pool = multiprocessing.Pool(WORKERS)

    def submit(self, function: Any, argument: Any) -> Any:
        return self._pool.apply_async(function, (argument,))

    def result(self, handle: Any) -> Any:
        return handle.get()

    def map(self, function: Any, count: int) -> list[Any]:
        return self._pool.map(function, range(count))

    def end(self) -> None:
        self._pool.terminate()
        self._pool.join()


class Ray(Contestant):
    """One node, without its dashboard, which would take a core."""

    def begin(self) -> None:
        import ray
        from ray.util.multiprocessing import Pool as RayPool

        self._ray = ray
        ray.init(
            num_cpus=WORKERS,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            _node_ip_address="127.0.0.1",
        )
        self._functions: dict[Any, Any] = {}
        self._make_pool = RayPool
        self._pool: Any = None

    def submit(self, function: Any, argument: Any) -> Any:
        known = self._functions.get(function)
        if known is None:
            known = self._functions[function] = self._ray.remote(function)
        return known.remote(argument)

    def result(self, handle: Any) -> Any:
        return self._ray.get(handle)

    def results(self, handles: list[Any]) -> list[Any]:
        return self._ray.get(handles)

    def map(self, function: Any, count: int) -> list[Any]:
        if self._pool is None:
            self._pool = self._make_pool(processes=WORKERS)
        return self._pool.map(function, range(count))

    def end(self) -> None:
        self._ray.shutdown()


class Dask(Contestant):
    """Scheduler and workers as processes; `pure=False`, else the same call is made once only."""

    def begin(self) -> None:
        from distributed import Client, LocalCluster

        self._cluster = LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, dashboard_address=None, silence_logs=50
        )
        self._client = Client(self._cluster)

    def submit(self, function: Any, argument: Any) -> Any:
        return self._client.submit(function, argument, pure=False)

    def result(self, handle: Any) -> Any:
        return handle.result()

    def results(self, handles: list[Any]) -> list[Any]:
        return self._client.gather(handles)

    def map(self, function: Any, count: int) -> list[Any]:
        import dask.bag

        bag = dask.bag.from_sequence(range(count), npartitions=4 * WORKERS)
        return bag.map(function).compute(scheduler=self._client)

    def array(self, array: Any) -> Any:
        return self._client.submit(echo, self._client.scatter(array), pure=False).result()

    def end(self) -> None:
        self._client.close()
        self._cluster.close()


class Parsl(Contestant):
    """Its HighThroughputExecutor."""

    def begin(self) -> None:
        import parsl
        from parsl.config import Config
        from parsl.executors import HighThroughputExecutor
        from parsl.providers import LocalProvider

        self._folder = tempfile.TemporaryDirectory(prefix="parsl-bench-")
        executor = HighThroughputExecutor(
            address="127.0.0.1",
            max_workers_per_node=WORKERS,
            cores_per_worker=1,
            provider=LocalProvider(init_blocks=1, max_blocks=1),
        )
        config = Config(executors=[executor], run_dir=self._folder.name, initialize_logging=False)
        self._parsl = parsl
        parsl.load(config)
        self._apps: dict[Any, Any] = {}

    def submit(self, function: Any, argument: Any) -> Any:
        known = self._apps.get(function)
        if known is None:
            known = self._apps[function] = self._parsl.python_app(function)
        return known(argument)

    def result(self, handle: Any) -> Any:
        return handle.result()

    def map(self, function: Any, count: int) -> list[Any]:
        return self.results([self.submit(function, number) for number in range(count)])

    def end(self) -> None:
        self._parsl.dfk().cleanup()
        self._parsl.clear()
        self._folder.cleanup()


class _OnRedis(Contestant):
    """A Redis of its own with Debian's settings (snapshots: not every call is on disk), and
    worker processes of a command."""

    worker: tuple[str, ...] = ()

    def begin(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="redis-bench-")
        socket = f"{self._folder.name}/redis.sock"
        options = ["--port", "0", "--unixsocket", socket, "--dir", self._folder.name]
        self._redis = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        os.environ["BENCH_REDIS"] = socket
        deadline = time.monotonic() + _REDIS_PATIENCE_S
        while not os.path.exists(socket) and time.monotonic() < deadline:  # noqa: PTH110
            time.sleep(0.01)
        command = [sys.executable, "-m", *self.worker]
        self._workers = subprocess.Popen(
            command,
            # Celery refuses pickle to root, as which containers run.
            env=os.environ | _ONE | {"C_FORCE_ROOT": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def end(self) -> None:
        self._workers.terminate()
        try:
            self._workers.wait(10)
        except subprocess.TimeoutExpired:
            self._workers.kill()
            self._workers.wait()
        self._redis.terminate()
        self._redis.wait()
        self._folder.cleanup()


class Celery(_OnRedis):
    """Prefork workers; `.chunks` is its way to map."""

    worker = ("celery", "-A", "tests.bench.contest.celery_tasks", "worker", "-c", str(WORKERS))

    def begin(self) -> None:
        super().begin()
        from tests.bench.contest import celery_tasks

        self._tasks = celery_tasks.TASKS

    def submit(self, function: Any, argument: Any) -> Any:
        return self._tasks[function.__name__].delay(argument)

    def result(self, handle: Any) -> Any:
        return handle.get()

    def map(self, function: Any, count: int) -> list[Any]:
        chunks = self._tasks[function.__name__].chunks(((n,) for n in range(count)), 100)
        return [each for chunk in chunks.apply_async().get() for each in chunk]


class Dramatiq(_OnRedis):
    """Two processes of one thread."""

    worker = ("dramatiq", "tests.bench.contest.dramatiq_tasks", "-p", str(WORKERS), "-t", "1")

    def begin(self) -> None:
        super().begin()
        from tests.bench.contest import dramatiq_tasks

        self._tasks = dramatiq_tasks.TASKS

    def submit(self, function: Any, argument: Any) -> Any:
        return self._tasks[function.__name__].send(argument)

    def result(self, handle: Any) -> Any:
        return handle.get_result(block=True, timeout=120_000)

    def map(self, function: Any, count: int) -> list[Any]:
        return self.results([self.submit(function, number) for number in range(count)])


CONTESTANTS: dict[str, type[Contestant]] = {
    "gridloom": Gridloom,
    "gridloom, durable=False": GridloomInMemory,
    "process-pool": ProcessPool,
    "mp-pool": Pool,
    "ray": Ray,
    "dask": Dask,
    "parsl": Parsl,
    "celery": Celery,
    "dramatiq": Dramatiq,
}
__all__ = ["CONTESTANTS", "Contestant", "nothing", "tiny"]
