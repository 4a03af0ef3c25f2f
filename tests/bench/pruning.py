"""What lone calls cost while the platform removes what is older than it keeps.

`python -m tests.bench.own pruning [--quick]`. A home is filled with finished maps, calls with names
and jobs, and copied; the copy's platform keeps nothing of it, and its jobs are made older. Lone
calls are made of both in turns, for as long as the copy is being pruned; that one's platform stands
still while the other is measured, so that each has the machine to itself.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import statistics
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Self

import gridloom

from tests.support.home import Home

if TYPE_CHECKING:
    from collections.abc import Iterator

MAPS, ITEMS = 10, 2_000
NAMED = 10_000
JOBS, BATCH = 2_000, 1_000
CALLS_A_TURN = 100
PATIENCE_S = 90.0
# Time to make both warm before the first sweep.
FIRST_SWEEP_S = 6
AGED_US = 3_600_000_000

ALL_PRUNED = {
    "GRIDLOOM_FUNCTIONS_RETENTION_S": "0",
    "GRIDLOOM_FUNCTIONS_PRUNE_EVERY_S": str(FIRST_SWEEP_S),
    "GRIDLOOM_SCHEDULER_KEEP_JOBS_DAYS": "0",
    "GRIDLOOM_SCHEDULER_PRUNE_EVERY_S": str(FIRST_SWEEP_S),
}
# What there is to remove, by store.
_ROWS = {
    "functions": "SELECT (SELECT count(*) FROM call_results) + (SELECT count(*) FROM call_groups)",
    "scheduler": "SELECT count(*) FROM jobs",
}


def nothing(number: int = 0) -> int:
    """The call that is measured."""
    return number


def measured(*, quick: bool) -> Iterator[tuple[str, float, str]]:
    """The milliseconds of a call without pruning and amid it, and their ratios."""
    share = 4 if quick else 1
    with tempfile.TemporaryDirectory(prefix="gridloom-bench-") as name, ExitStack() as stack:
        still, pruned = Home(Path(name) / "still"), Home(Path(name) / "pruned")
        _fill(still, share)
        shutil.copytree(still.path, pruned.path, ignore=shutil.ignore_patterns("notify"))
        _age(pruned.path)
        rows = _rows(pruned.path)
        pruned.environment.update(ALL_PRUNED)
        without, amid = (stack.enter_context(Side(home)) for home in (still, pruned))
        seconds = _in_turns(without, amid, rows)
        yield "pruned", (rows - _rows(pruned.path)) / seconds, "rows/s"
        yield "  rows that were there", rows, "rows"
        yield from _figures(without.times_ms, amid.times_ms)


class Side:
    """One platform, a client of it, and the times of its calls."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.times_ms: list[float] = []

    def __enter__(self) -> Self:
        assert self.home.gridloom("up").code == 0
        record = self.home.platform.running()
        assert record is not None
        self._pid = record.pid
        self._client = gridloom.connect(home=self.home.path)
        self.turn()
        self.times_ms.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on()
        self._client.close()
        self.home.close()

    def turn(self) -> None:
        """Calls one after the other, each waited for."""
        for _ in range(CALLS_A_TURN):
            begun = time.perf_counter()
            self._client.submit(nothing).result(60)
            self.times_ms.append(1000 * (time.perf_counter() - begun))

    def stand_still(self) -> None:
        """Until `go_on`."""
        os.kill(self._pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """As before."""
        os.kill(self._pid, signal.SIGCONT)


def _in_turns(still: Side, pruned: Side, rows: int) -> float:
    """Measure both as long as the second is pruned; how long that took of its own time."""
    ends_at = time.monotonic() + PATIENCE_S
    while _rows(pruned.home.path) >= rows and time.monotonic() < ends_at:
        time.sleep(0.01)
    spent = 0.0
    while _rows(pruned.home.path) > CALLS_A_TURN and time.monotonic() < ends_at:
        pruned.stand_still()
        still.turn()
        pruned.go_on()
        begun = time.perf_counter()
        pruned.turn()
        spent += time.perf_counter() - begun
    return spent


def _figures(without: list[float], amid: list[float]) -> Iterator[tuple[str, float, str]]:
    for name, part in (("p50", 50), ("p99", 99)):
        found = [statistics.quantiles(times, n=100)[part - 1] for times in (without, amid)]
        yield f"lone call, {name}, without pruning", found[0], "ms"
        yield f"lone call, {name}, amid pruning", found[1], "ms"
        yield f"  {name}: amid pruning, of without", found[1] / found[0], "x"


def _fill(home: Home, share: int) -> None:
    """Leave finished work there, and no platform."""
    try:
        with gridloom.connect(home=home.path) as client:
            for _ in range(MAPS // share):
                list(client.map(nothing, range(ITEMS), chunk_size=1, progress=False))
            named = [
                client.submit(gridloom.function(nothing).options(name=f"call-{number}"), number)
                for number in range(NAMED // share)
            ]
            assert [one.result(PATIENCE_S) for one in named] == list(range(NAMED // share))
            _end_jobs(client, JOBS // share)
    finally:
        home.close()


def _end_jobs(client: gridloom.Client, count: int) -> None:
    """Jobs that wait behind one, and are cancelled."""
    client.run(["sleep", "3600"], cpus=sum(node.capacity["cpu"] for node in client.nodes()) / 1000)
    for first in range(0, count, BATCH):
        size = min(BATCH, count - first)
        jobs = client.run_many([{"command": ["true"], "cpus": 1, "labels": {"bench": "a"}}] * size)
        client.cancel(jobs)


def _age(home: Path) -> None:
    with closing(sqlite3.connect(home / "scheduler" / "scheduler.db")) as connection, connection:
        connection.execute("UPDATE jobs SET ended_us = ended_us - ?", (AGED_US,))


def _rows(home: Path) -> int:
    found = 0
    for service, query in _ROWS.items():
        uri = f"file:{home / service / service}.db?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            found += connection.execute(query).fetchone()[0]
    return found
