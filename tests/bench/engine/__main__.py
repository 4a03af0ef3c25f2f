"""Measure the scheduling engine: `python -m tests.bench.engine [NAME...]`.

Times are processor time of one thread. Each line names what is asked of the engine, what was
reached, and whether that suffices.
"""

from __future__ import annotations

import sys

from tests.bench.engine.measures import MEASURES


def main(names):
    unknown = set(names) - MEASURES.keys()
    if unknown:
        sys.exit(f"no such measure: {', '.join(sorted(unknown))}; there are: {', '.join(MEASURES)}")
    print(f"{'measure':58} {'asked':>14}  reached")
    for name in names or MEASURES:
        for line in MEASURES[name]():
            print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
