"""MPI jobs beside bare `mpiexec`, in turns: `python -m tests.bench.own mpi [--quick]`.

A hello of four ranks from its submission to all results, 64 ranks from start to end, a call of a
warm world, and a ping-pong inside a job. Of what has a bare counterpart the ratio, or the
difference, is what counts: both were taken in turns, on the same machine at the same time.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import gridloom
from gridloom.worker.mpi.implementations import find_launcher, rank_environment
from gridloom.worker.mpi.spec import MPICH, LaunchSpec

from tests.support.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gridloom.mpi_jobs.function import MpiFunction

REPETITIONS = 15
MANY = 64
WARM_CALLS = 100
HELLO = "from mpi4py import MPI; print(MPI.COMM_WORLD.rank)"
# Latency of one byte in microseconds, and bandwidth at 1 MiB in GB/s; medians of bursts.
PING_PONG = """
import json, statistics, time
from mpi4py import MPI

comm = MPI.COMM_WORLD

def burst(buffer, times):
    comm.Barrier()
    began = time.perf_counter()
    for _ in range(times):
        if comm.rank == 0:
            comm.Send(buffer, 1)
            comm.Recv(buffer, 1)
        else:
            comm.Recv(buffer, 0)
            comm.Send(buffer, 0)
    return (time.perf_counter() - began) / times / 2

small, large = bytearray(1), bytearray(1 << 20)
burst(small, 1000), burst(large, 20)
latency = min(burst(small, 1000) for _ in range(20))
whole = min(burst(large, 50) for _ in range(20))
if comm.rank == 0:
    print(json.dumps([latency * 1e6, len(large) / whole / 1e9]), flush=True)
"""


def hello_of_a_script() -> MpiFunction[[], int]:
    """As a function of `__main__` it travels by value: ranks do not import this module."""

    @gridloom.mpi(ranks=4)
    def hello(comm: object) -> int:
        return int(comm.rank)  # type: ignore[attr-defined]

    return hello


def one(comm: object) -> int:
    """A call of a warm world."""
    return int(comm.rank)  # type: ignore[attr-defined]


def bare(ranks: int, code: str) -> str:
    """What ranks of a plain launcher print."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    launcher = find_launcher(MPICH, path)
    words = [launcher.path, "-n", str(ranks), sys.executable, "-c", code]
    spec = LaunchSpec(ranks, MPICH, words)
    environment = rank_environment(launcher, spec, {**os.environ, "PATH": path})
    done = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
    return done.stdout


def ours(client: gridloom.Client, ranks: int, code: str) -> str:
    """What ranks of a job print, when it is over."""
    job = client.mpi.run([sys.executable, "-c", code], ranks=ranks, cpus=0.01)
    job.result(600, progress=False)
    return "\n".join(job.logs())


def took(work: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def beside(
    one_s: Callable[[], object], other_s: Callable[[], object], times: int
) -> tuple[list[float], list[float]]:
    """Both, in turns; each goes first every other time."""
    first, second = [], []
    for turn in range(times):
        if turn % 2:
            second.append(took(other_s))
            first.append(took(one_s))
        else:
            first.append(took(one_s))
            second.append(took(other_s))
    return first, second


def starts(client: gridloom.Client, times: int) -> Iterator[tuple[str, float, str]]:
    """From submission to all results, and the launcher alone."""
    hello = hello_of_a_script()
    own, plain = beside(
        lambda: hello.submit_to(client, (), {}).result(), lambda: bare(4, HELLO), times
    )
    yield "hello on 4 ranks, submit to results", statistics.median(own), "s"
    yield "hello on 4 ranks, bare mpiexec", statistics.median(plain), "s"
    differences = [a - b for a, b in zip(own, plain, strict=True)]
    yield "hello on 4 ranks, beyond bare", statistics.median(differences), "s"
    own, plain = beside(
        lambda: ours(client, MANY, HELLO), lambda: bare(MANY, HELLO), max(times // 5, 2)
    )
    yield f"{MANY} ranks, start to end", statistics.median(own), "s"
    ratios = [a / b for a, b in zip(own, plain, strict=True)]
    yield f"{MANY} ranks, times bare", statistics.median(ratios), "x"


def warm(client: gridloom.Client) -> Iterator[tuple[str, float, str]]:
    """Calls of a world, from the second onwards."""
    with client.mpi.world(ranks=2) as world:
        world.call(one)
        times = sorted(took(lambda: world.call(one)) for _ in range(WARM_CALLS))
    yield "warm call on 2 ranks", statistics.median(times) * 1e3, "ms"
    yield "warm call on 2 ranks, 9 of 10 below", times[int(0.9 * WARM_CALLS)] * 1e3, "ms"


def messages(client: gridloom.Client, times: int) -> Iterator[tuple[str, float, str]]:
    """A ping-pong inside a job, and under the launcher alone; the best of each, as both suffer."""
    own, plain = [], []
    for _ in range(times):
        own.append(json.loads(ours(client, 2, PING_PONG).replace("[0] ", "")))
        plain.append(json.loads(bare(2, PING_PONG)))
    latency, bandwidth = (
        (min(e[0] for e in own), min(e[0] for e in plain)),
        (max(e[1] for e in own), max(e[1] for e in plain)),
    )
    yield "ping-pong, latency in a job", latency[0], "us"
    yield "ping-pong, latency, times bare", latency[0] / latency[1], "x"
    yield "ping-pong, bandwidth in a job at 1 MiB", bandwidth[0], "GB/s"
    yield "ping-pong, bandwidth, times bare", bandwidth[0] / bandwidth[1], "x"


def measured(*, quick: bool) -> Iterator[tuple[str, float, str]]:
    """On a platform of its own."""
    times = 5 if quick else REPETITIONS
    with tempfile.TemporaryDirectory(prefix="gridloom-bench-") as folder:
        home = Home(Path(folder) / "home")
        try:
            home.gridloom("up", "--cpus", str(MANY))  # more ranks than cores, as bare has them
            with gridloom.connect(home=home.path) as client:
                hello_of_a_script().submit_to(client, (), {}).result()
                yield from starts(client, times)
                yield from warm(client)
                yield from messages(client, max(times // 3, 2))
        finally:
            home.close()
