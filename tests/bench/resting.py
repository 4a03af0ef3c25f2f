"""What a platform costs that has nothing to do, and what it takes to come to life.

Processor time is summed over the platform, its supervisors and its pool's processes; memory is
their proportional share (a page that three processes share counts a third in each).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    Figures = Iterator[tuple[str, float, str]]

FIRST = """
import os, sys, time, gridloom
client = gridloom.connect(home=sys.argv[1])
client.submit(int, "7").result()
print(time.monotonic() - float(os.environ["BENCH_BEGUN"]), flush=True)
sys.stdin.readline()
"""


class Processes:
    """All processes of a home but this one."""

    def __init__(self, home: str) -> None:
        self._mark = home.encode()

    def folders(self) -> list[Path]:
        found = (path for path in Path("/proc").iterdir() if path.name.isdigit())
        return [path for path in found if int(path.name) != os.getpid() and self._is_ours(path)]

    def _is_ours(self, path: Path) -> bool:
        try:
            said = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
        except OSError:
            return False
        return self._mark in said

    def cpu_s(self) -> float:
        return sum(_cpu_s(path) for path in self.folders())

    def memory_mib(self) -> float:
        return sum(_memory_mib(path) for path in self.folders())


def _cpu_s(path: Path) -> float:
    try:
        tasks = [(task / "schedstat").read_text() for task in (path / "task").iterdir()]
    except OSError:
        return 0.0
    return sum(int(task.split()[0]) for task in tasks) / 1e9


def _memory_mib(path: Path) -> float:
    try:
        lines = (path / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def measured(*, quick: bool) -> Figures:
    """On a platform of its own."""
    with tempfile.TemporaryDirectory(prefix="gridloom-bench-") as home:
        try:
            yield from _figures(home, 10 if quick else 60)
        finally:
            command([*CLI, "down", "--cancel", "--home", home])


def _figures(home: str, watch_s: float) -> Figures:
    processes = Processes(home)
    wall, cpu = first_result(home, processes)
    yield "start, a new home: wall", wall, "s"
    yield "start, a new home: processor, all processes", cpu, "s"
    time.sleep(3)
    yield from _at_rest(processes, watch_s)
    command([*CLI, "down", "--cancel", "--home", home])
    wall, cpu = first_result(home, processes)
    yield "start, a known home: wall", wall, "s"
    yield "start, a known home: processor, all processes", cpu, "s"
    times = sorted(command([*CLI, "run", "--home", home, "--", "echo", "x"]) for _ in range(9))
    yield "gridloom run -- echo: wall", times[4], "s"
    yield "gridloom run -- echo: least", times[0], "s"


def _at_rest(processes: Processes, watch_s: float) -> Figures:
    cpu = processes.cpu_s()
    time.sleep(watch_s)
    yield "idle, processor", 100 * (processes.cpu_s() - cpu) / watch_s, "% of one"
    yield "idle, memory", processes.memory_mib(), "MiB"


CLI = [sys.executable, "-m", "gridloom.cli"]


def environment() -> dict[str, str]:
    """Of a user, whose bytecode is kept."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GRIDLOOM_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept


def command(words: list[str]) -> float:
    """How long it takes."""
    begun = time.perf_counter()
    subprocess.run(words, env=environment(), check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def first_result(home: str, processes: Processes) -> tuple[float, float]:
    """Wall and processor time from a shell's prompt to a first result, nothing running before."""
    begun = str(time.monotonic())
    with subprocess.Popen(
        [sys.executable, "-c", FIRST, home],
        env=environment() | {"BENCH_BEGUN": begun},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as client:
        wall = float(client.stdout.readline())
        cpu = processes.cpu_s()
        client.communicate("\n")
    return wall, cpu


if __name__ == "__main__":
    for name, value, unit in measured(quick="--quick" in sys.argv):
        print(f"{name:44} {value:12,.3f} {unit}", flush=True)
