"""Gridloom and its peers, side by side: `python -m tests.bench.contest [--peers NAME,...]`.

Each repetition is a process of its own, and the contestants take turns, so that what slows the
machine for a while slows everybody. A run that was broken off goes on where it ended; `--fresh`
begins anew. The peers live in an environment of their own, see `make bench`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.contest.contestants import CONTESTANTS
from tests.bench.contest.one import MEASURES
from tests.bench.record import Figure, Record, busy_processors

ROOT = Path(__file__).resolve().parents[3]
ALWAYS = ("gridloom", "gridloom, durable=False", "process-pool", "mp-pool")
ON_REDIS = ("celery", "dramatiq")
KINDS = ("start", *MEASURES)

PATIENCE_S = 300


def repeat(name: str, kinds: list[str], python: str, repetition: int, record: Record) -> None:
    """One repetition of one contestant, into the record."""
    busy = busy_processors()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GRIDLOOM_")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else every process compiles everything anew
    # Some start programs of their own by name.
    environment["PATH"] = f"{Path(python).parent}:{environment.get('PATH', '')}"
    environment["PYTHONPATH"] = str(ROOT)
    environment["BENCH_BEGUN"] = str(time.monotonic())
    command = [python, "-m", "tests.bench.contest.one", name, *kinds]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, errors = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, errors = process.communicate()
        errors += " took too long"
    code = process.returncode
    for line in said.splitlines():
        if line.startswith("{"):
            figure = Figure(
                contestant=name, repetition=repetition, busy=round(busy, 2), **json.loads(line)
            )
            record.add(figure)
            print(
                f"  {name:24} {figure.measure:30} {figure.value:12,.2f} {figure.unit}", flush=True
            )
    if code:
        print(f"  {name:24} failed ({code}): {' '.join(errors.split()[-40:])}", flush=True)
    record.add(Figure(name, f"done: {' '.join(kinds)}", code, "", repetition, round(busy, 2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", default="all", help="names with commas, all, or none")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the peers")
    parser.add_argument("--kinds", default=",".join(KINDS), help="what is measured")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench")
    parser.add_argument("--fresh", action="store_true")
    options = parser.parse_args()
    record = Record(options.out / "contest.jsonl", fresh=options.fresh)
    names = _names(options.peers)
    kinds = options.kinds.split(",")
    for repetition in range(options.repetitions):
        print(f"repetition {repetition + 1} of {options.repetitions}", flush=True)
        for name in names:
            python = sys.executable if name in ALWAYS else options.python
            its = [kind for kind in kinds if kind in (CONTESTANTS[name].only or kinds)]
            if its and not record.has(name, its, repetition):
                repeat(name, its, python, repetition, record)


def _names(asked: str) -> list[str]:
    peers = [name for name in CONTESTANTS if name not in ALWAYS]
    wanted = {"all": peers, "none": []}.get(asked, asked.split(","))
    if unknown := set(wanted) - set(CONTESTANTS):
        sys.exit(f"no such contestant: {', '.join(sorted(unknown))}; there are {', '.join(peers)}")
    if shutil.which("redis-server") is None and set(wanted) & set(ON_REDIS):
        print("without redis-server (Debian has it) there is no Celery and no Dramatiq")
        wanted = [name for name in wanted if name not in ON_REDIS]
    return [*ALWAYS, *(name for name in wanted if name not in ALWAYS)]


if __name__ == "__main__":
    main()
