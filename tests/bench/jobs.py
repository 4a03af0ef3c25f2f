"""How fast command jobs are accepted: in batches, and as one array.

`python -m tests.bench.own jobs [--quick]` starts a platform of its own. What is submitted waits
behind one job that holds every CPU, as on a busy cluster: planned over, and not started. Each
acknowledged job is on disk.
"""

from __future__ import annotations

import statistics
import tempfile
import time
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


def batches(client: gridloom.Client) -> float:
    """Jobs a second, many at once, each with an argument of its own."""
    started = time.perf_counter()
    for first in range(0, JOBS, BATCH):
        numbers = range(first, first + BATCH)
        client.run_many(
            [{"command": ["true", str(number)], "labels": {"bench": "a"}} for number in numbers]
        )
    return JOBS / (time.perf_counter() - started)


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
