"""What a lone caller waits while another client floods, both as users are: through the SDK.

`python -m tests.bench.own beside [--quick]`. Two processes beside the embedded platform and its two
workers: one submits call after call in a loop without pause, 10,000 at a time, and reads the
results; the other makes one call after the other and waits for each. In turns with the flood held
back, so that both are of the same run. `calls` has the same with clients that are only a stream.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import gridloom

from tests.support.home import Home

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLS = 500
TURNS = 5
SETTLE_S = 1.0

FLOOD = """
import sys, gridloom

@gridloom.function
def nothing():
    return None

with gridloom.connect(home=sys.argv[1]) as client:
    while True:
        futures = [client.submit(nothing) for _ in range(10_000)]
        for future in futures:
            future.result(300)
        print(len(futures), flush=True)
"""


def nothing() -> None:
    """The call that is measured."""


def measured(*, quick: bool) -> Iterator[tuple[str, float, str]]:
    """Medians over the turns, of a platform of its own."""
    turns = 1 if quick else TURNS
    alone: list[list[float]] = []
    beside: list[list[float]] = []
    with tempfile.TemporaryDirectory(prefix="gridloom-bench-") as name:
        home = Home(Path(name) / "home")
        try:
            with gridloom.connect(home=home.path) as client, _flood(home.path) as held:
                lone(client, CALLS)
                for _ in range(turns):
                    alone.append(lone(client, CALLS))
                    with held():
                        beside.append(lone(client, CALLS))
        finally:
            home.close()
    for words, found in (("alone", alone), ("beside a flood", beside)):
        for share in (50, 99):
            value = statistics.median(times[len(times) * share // 100] for times in found)
            yield f"lone call {words}, p{share}", value, "ms"


def lone(client: gridloom.Client, count: int) -> list[float]:
    """The milliseconds of each call, the shortest first."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        client.submit(nothing).result(300)
        times.append(1000 * (time.perf_counter() - began))
    return sorted(times)


@contextmanager
def _flood(home: Path) -> Iterator[object]:
    """A client that floods while it is let, and stands still otherwise."""
    command = [sys.executable, "-c", FLOOD, str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        other.send_signal(signal.SIGSTOP)

        @contextmanager
        def let() -> Iterator[None]:
            other.send_signal(signal.SIGCONT)
            time.sleep(SETTLE_S)
            try:
                yield
            finally:
                other.send_signal(signal.SIGSTOP)
                time.sleep(SETTLE_S)

        try:
            yield let
        finally:
            os.kill(other.pid, signal.SIGKILL)
