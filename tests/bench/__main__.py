"""Measure Gridloom: `python -m tests.bench [engine|calls]...`; without a word, everything.

Each part prints its own table and says how it measures. Figures move from run to run and from
machine to machine: compare within one run.
"""

import subprocess
import sys

PARTS = {"engine": "tests.bench.engine", "calls": "tests.bench.calls"}


def main(names):
    unknown = set(names) - PARTS.keys()
    if unknown:
        sys.exit(f"no such part: {', '.join(sorted(unknown))}; there are: {', '.join(PARTS)}")
    for name in names or PARTS:
        print(f"== {name}", flush=True)
        # A process each: what one leaves in memory is not the other's.
        subprocess.run([sys.executable, "-m", PARTS[name]], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
