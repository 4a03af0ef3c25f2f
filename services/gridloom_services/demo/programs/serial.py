"""Command job 2: the whole study in one process, one fit after the other; writes serial.json."""

from __future__ import annotations

import json
import time
from pathlib import Path

import fits
import numpy as np


def main() -> None:
    """Run every fit and write scores and wall time in seconds."""
    with np.load("digits.npz") as data:
        fits.use(data["images"], data["labels"])
    started = time.perf_counter()
    done = [fits.fit(number, fold) for number, fold in fits.tasks()]
    wall = time.perf_counter() - started
    Path("serial.json").write_text(json.dumps({"fits": done, "wall_s": wall}), encoding="utf-8")
    print(f"{len(done)} fits in {wall:.1f} s")  # noqa: T201


if __name__ == "__main__":
    main()
