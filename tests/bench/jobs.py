"""How fast command jobs are accepted: in batches, and as one array.

`python -m tests.bench.own jobs [--quick]` starts a platform of its own. What is submitted waits
behind one job that holds every CPU, as on a busy cluster: planned over, and not started. Each
acknowledged job is on disk.
"""

from __future__ import annotations

import functools
import multiprocessing
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import gridloom

from tests.support.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPETITIONS = 5
JOBS = 5_000
BATCH = 1_000
ELEMENTS = 100_000
SUBMITTERS = 2


def batches(client: gridloom.Client) -> float:
    """Jobs a second, many at once, each with an argument of its own."""
    started = time.perf_counter()
    for first in range(0, JOBS, BATCH):
        numbers = range(first, first + BATCH)
        client.run_many(
            [{"command": ["true", str(number)], "labels": {"bench": "a"}} for number in numbers]
        )
    return JOBS / (time.perf_counter() - started)


def submitters(client: gridloom.Client) -> float:
    """The same of several clients at once: the platform need not wait for what one prepares."""
    spawned = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        pools = [
            stack.enter_context(ProcessPoolExecutor(1, mp_context=spawned))
            for _ in range(SUBMITTERS)
        ]
        for pool in pools:
            pool.submit(_connect, client.name).result()
        started = time.perf_counter()
        for each in [pool.submit(_submit, client.name) for pool in pools]:
            each.result()
        return SUBMITTERS * JOBS / (time.perf_counter() - started)


@functools.cache
def _connected(home: str) -> gridloom.Client:
    return gridloom.connect(home=home)


def _connect(home: str) -> None:
    _connected(home).nodes()


def _submit(home: str) -> None:
    batches(_connected(home))


def one_by_one(client: gridloom.Client) -> float:
    """Jobs a second, each waited for."""
    started = time.perf_counter()
    for _ in range(JOBS // 20):
        client.run(["true"], labels={"bench": "a"})
    return JOBS / 20 / (time.perf_counter() - started)


def array(client: gridloom.Client) -> float:
    """Seconds until a large array is accepted."""
    started = time.perf_counter()
    client.run(["true"], array=ELEMENTS, labels={"bench": "a"})
    return time.perf_counter() - started


MEASURES: tuple[tuple[str, Callable[[gridloom.Client], float], str], ...] = (
    (f"jobs in batches of {BATCH:,}", batches, "jobs/s"),
    (f"the same of {SUBMITTERS} clients at once", submitters, "jobs/s"),
    ("jobs one by one", one_by_one, "jobs/s"),
    (f"an array of {ELEMENTS:,}", array, "s"),
)


def measured(*, quick: bool) -> Iterator[tuple[str, float, str]]:
    """On a platform of its own: medians, then the lowest and the highest."""
    with tempfile.TemporaryDirectory(prefix="gridloom-bench-") as folder:
        home = Home(Path(folder) / "home")
        try:
            with gridloom.connect(home=home.path) as client:
                (node,) = client.nodes()
                client.run(["sleep", "1000"], cpus=node.capacity["cpu"] / 1000)
                for name, measure, unit in MEASURES:
                    found = _repeated(client, measure, 2 if quick else REPETITIONS)
                    yield name, statistics.median(found), unit
                    yield f"  {name}, lowest", min(found), unit
                    yield f"  {name}, highest", max(found), unit
        finally:
            home.close()


def _repeated(
    client: gridloom.Client, measure: Callable[[gridloom.Client], float], repetitions: int
) -> list[float]:
    found = []
    for _ in range(repetitions):
        found.append(measure(client))
        client.cancel(list(client.jobs(labels={"bench": "a"}, state="unfinished")))
    return found
