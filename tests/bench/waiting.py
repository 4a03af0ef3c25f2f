"""What a call that waits costs the memory of its client and of the platform.

Calls that never begin are submitted one by one through the SDK, while the only worker sleeps. What
the two processes' resident memory has grown by, when all are on disk, is divided by their number;
the list that the client keeps its futures in (8 B each) is part of it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

from tests.bench.resting import CLI, command

if TYPE_CHECKING:
    from collections.abc import Iterator

    Figures = Iterator[tuple[str, float, str]]

CLIENT = """
import gc, os, sys, time, gridloom
from pathlib import Path
from gridloom.home import EmbeddedPlatform

def resident(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

@gridloom.function
def wait(seconds):
    time.sleep(seconds)

home, count = sys.argv[1], int(sys.argv[2])
with gridloom.connect(home=home) as client:
    first = [client.submit(wait, 3600) for _ in range(200)]
    time.sleep(2)
    client.get(first[-1].id)  # what that imports is here
    gc.collect()
    processes = os.getpid(), EmbeddedPlatform(Path(home)).record().pid
    before = [resident(pid) for pid in processes]
    futures = [client.submit(wait, 3600) for _ in range(count)]
    client.get(futures[-1].id)  # all are on disk
    gc.collect()
    after = [resident(pid) for pid in processes]
    print(*((new - old) / count for old, new in zip(before, after)), flush=True)
    os._exit(0)
"""


def measured(*, quick: bool) -> Figures:
    """On a platform of its own each."""
    for count in (10_000,) if quick else (100_000, 100_000, 100_000, 1_000_000):
        with tempfile.TemporaryDirectory(prefix="gridloom-bench-") as home:
            try:
                client, service = _grown(home, count)
            finally:
                command([*CLI, "down", "--cancel", "--home", home])
        yield f"  client's memory, {count:,} queued", client, "B a call"
        yield f"  platform's memory, {count:,} queued", service, "B a call"


def _grown(home: str, count: int) -> tuple[float, float]:
    environment = {**os.environ, "GRIDLOOM_FUNCTIONS_WORKERS": "1"}
    program = [sys.executable, "-c", CLIENT, home, str(count)]
    done = subprocess.run(program, env=environment, check=True, capture_output=True, text=True)
    client, service = (float(word) for word in done.stdout.split())
    return client, service
