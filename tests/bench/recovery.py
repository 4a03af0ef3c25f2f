"""How soon work goes on after a kill, and what is lost: `python -m tests.bench.own recovery`.

The platform is killed amid calls and started again; a worker is killed amid calls. Each time every
call's result is compared with the right one.
"""

from __future__ import annotations

import os
import signal
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import gridloom

from tests.support.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CALLS = 10_000
REPETITIONS = 5
WORKERS = 2
BRIEF_S = 0.0002
BUSY_S = 0.001
WINDOW_S = 0.1
BACK = 0.9
PATIENCE_S = 120


def brief(number: int) -> int:
    """So much work that the platform is killed amid the calls on a quick machine, too."""
    return _worked(number, BRIEF_S)


def busy(number: int) -> int:
    """A millisecond of work."""
    return _worked(number, BUSY_S)


def _worked(number: int, seconds: float) -> int:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
    return number * number


def own_pid(_number: int) -> int:
    time.sleep(0.2)
    return os.getpid()


class Arrivals:
    """When each result of some calls reached the client, and how many of them were wrong."""

    def __init__(self, client: gridloom.Client, function: Callable[[int], int]) -> None:
        self.times: list[float] = []
        self._changed = threading.Condition()
        self._futures = [client.submit(function, number) for number in range(CALLS)]
        for future in self._futures:
            future.add_done_callback(self._arrived)

    def _arrived(self, _future: object) -> None:
        with self._changed:
            self.times.append(time.perf_counter())
            self._changed.notify_all()

    def until(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.times) >= count, PATIENCE_S)

    def wrong(self) -> int:
        """How many calls gave something else than the right result, once all are over."""
        self.until(CALLS)
        failed = [future.exception() for future in self._futures]
        found = [None if failed[n] else f.result() for n, f in enumerate(self._futures)]
        # More arrivals than calls: some were told twice.
        return sum(n * n != each for n, each in enumerate(found)) + len(self.times) - CALLS


def platform_killed(home: Home, client: gridloom.Client) -> tuple[float, float]:
    """Seconds from the start of the next platform to the next result; calls that were wrong."""
    record = home.platform.running()
    assert record is not None
    arrivals = Arrivals(client, brief)
    arrivals.until(CALLS // 10)
    os.kill(record.pid, signal.SIGKILL)
    time.sleep(WINDOW_S)  # what was on its way has arrived
    seen, begun = len(arrivals.times), time.perf_counter()
    assert seen < CALLS, "all results were there before the kill: it has shown nothing"
    home.platform.start()
    wrong = arrivals.wrong()
    return arrivals.times[seen] - begun, float(wrong)


def worker_killed(client: gridloom.Client) -> tuple[float, float]:
    """Seconds until as many results come as before, within a tenth; calls that were wrong."""
    (pid, *_) = set(client.map(own_pid, range(2 * WORKERS), chunk_size=1, progress=False))
    arrivals = Arrivals(client, busy)
    arrivals.until(CALLS // 4)
    rate = CALLS // 8 / (arrivals.times[CALLS // 4 - 1] - arrivals.times[CALLS // 8 - 1])
    os.kill(pid, signal.SIGKILL)
    killed = time.perf_counter()
    wrong = arrivals.wrong()
    return _back_at(arrivals.times, killed, rate), float(wrong)


def _back_at(times: list[float], killed: float, rate: float) -> float:
    """The end of the first window after the kill with as many results as before, from then on."""
    windows = int((times[-1] - killed) / WINDOW_S)
    for number in range(windows):
        begin = killed + number * WINDOW_S
        found = sum(begin <= each < begin + WINDOW_S for each in times)
        if found >= BACK * rate * WINDOW_S:
            return (number + 1) * WINDOW_S
    return float("inf")


def measured(*, quick: bool) -> Iterator[tuple[str, float, str]]:
    """On a platform of its own: medians, then the longest; of wrong calls, all."""
    with tempfile.TemporaryDirectory(prefix="gridloom-bench-") as folder:
        home = Home(Path(folder) / "home")
        try:
            with gridloom.connect(home=home.path) as client:
                list(client.map(own_pid, range(2 * WORKERS), chunk_size=1, progress=False))
                for name, measure in (
                    (
                        "platform killed, restart to next result",
                        lambda: platform_killed(home, client),
                    ),
                    ("one worker killed, until as fast as before", lambda: worker_killed(client)),
                ):
                    found = [measure() for _ in range(1 if quick else REPETITIONS)]
                    times = [seconds for seconds, _ in found]
                    yield name, statistics.median(times), "s"
                    yield f"  {name}, longest", max(times), "s"
                    yield f"  {name}, wrong or lost", sum(w for _, w in found), "calls"
        finally:
            home.close()
