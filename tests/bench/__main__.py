"""Measure Gridloom: `python -m tests.bench [PART...] [--quick] [--peers NAMES] [--fresh]`.

    contest   Gridloom beside its peers, in turns: start, lone calls, floods, maps, arrays
    resting   what an idle platform costs, how long one takes to start, `gridloom run -- echo`
    jobs      how fast command jobs are accepted
    mpi       MPI jobs beside bare mpiexec: starts, warm calls, messages
    payloads  large arguments and results on the platform's own machine
    served    calls to the services apart, on PostgreSQL
    recovery  how soon work goes on after a kill, and what is lost
    calls     the call path with a raw client: its limits, without the SDK
    beside    a lone caller while another client floods, both with the SDK
    waiting   memory of calls that wait, of their client and of the platform
    pruning   lone calls while the platform removes what is old
    engine    the scheduling engine: planning, events, memory

Figures move from run to run and from machine to machine: compare within one run. The contest is
kept in build/bench as it goes: a run that was broken off goes on where it ended, `--fresh` begins
anew. `--quick` takes less than three minutes and asks no peers.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = (
    *("contest", "resting", "calls", "jobs", "mpi", "payloads", "engine"),
    *("beside", "served", "recovery", "waiting", "pruning"),
)
NOT_QUICK = frozenset({"served", "recovery", "waiting", "pruning"})
QUICK_ENGINE = ("cycles",)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    parser.add_argument("--peers", help="names with commas, all, or none", default="all")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--kinds", help="of the contest: start,lone,flood,map,array")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the peers")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    every = [part for part in PARTS if not (options.quick and part in NOT_QUICK)]
    for part in options.parts or every:
        print(f"== {part}", flush=True)
        # A process each: what one leaves in memory is not the other's.
        subprocess.run([sys.executable, "-m", *words(part, options)], cwd=ROOT, check=True)
    print("== results", flush=True)
    report = ["tests.bench.report", "--python", options.python, "--out", str(options.out)]
    subprocess.run([sys.executable, "-m", *report], cwd=ROOT, check=True)


def words(part: str, options: argparse.Namespace) -> list[str]:
    """The module of a part and what it is told."""
    if part == "engine":
        return ["tests.bench.engine", *(QUICK_ENGINE if options.quick else ())]
    out = ["--out", str(options.out)]
    quick = ["--quick"] if options.quick else []
    if part != "contest":
        return ["tests.bench.own", part, *out, *quick]
    peers = "none" if options.quick else options.peers
    repetitions = 1 if options.quick else options.repetitions
    # One repetition says little: it is measured anew each time.
    fresh = ["--fresh"] if options.fresh or options.quick else []
    kinds = ["--kinds", options.kinds] if options.kinds else []
    asked = ["--peers", peers, "--repetitions", str(repetitions), "--python", options.python]
    return ["tests.bench.contest", *asked, *fresh, *kinds, *out]


if __name__ == "__main__":
    main()
