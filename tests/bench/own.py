"""Measures that have no peers: `python -m tests.bench.own PART [--quick]`.

A part's figures replace those that it left before.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from tests.bench.record import Figure, Record, busy_processors

PARTS = (
    *("beside", "calls", "jobs", "mpi", "payloads"),
    *("pruning", "recovery", "resting", "served", "waiting"),
)
ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench")
    options = parser.parse_args()
    record = Record(options.out / f"{options.part}.jsonl", fresh=True)
    busy = round(busy_processors(), 2)
    for name, value, unit in importlib.import_module(f"tests.bench.{options.part}").measured(
        quick=options.quick
    ):
        record.add(Figure("gridloom", name, value, unit, 0, busy))
        print(f"{name:48} {value:14,.3f} {unit}", flush=True)


if __name__ == "__main__":
    main()
