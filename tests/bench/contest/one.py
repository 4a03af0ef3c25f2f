"""One repetition of one contestant: `python -m tests.bench.contest.one NAME MEASURE...`.

Prints a JSON object a figure. Runs in the environment of the contestant, as a process of its own
each time, so that nothing of one repetition helps or harms the next.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING

from tests.bench.contest.contestants import CONTESTANTS, nothing, tiny

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.contest.contestants import Contestant

CALLS = int(os.environ.get("BENCH_CALLS", "10000"))
LONE_CALLS = int(os.environ.get("BENCH_LONE_CALLS", "500"))
ARRAY_MIB = 100
ECHOES = 3


def say(measure: str, value: float, unit: str) -> None:
    print(json.dumps({"measure": measure, "value": value, "unit": unit}), flush=True)


def lone(contestant: Contestant) -> None:
    """One call after the other, each waited for."""
    for _ in range(20):
        contestant.result(contestant.submit(nothing, None))
    times = []
    for _ in range(LONE_CALLS):
        begun = time.perf_counter()
        contestant.result(contestant.submit(nothing, None))
        times.append(1000 * (time.perf_counter() - begun))
    times.sort()
    say("lone call, p50", times[len(times) // 2], "ms")
    say("lone call, p99", times[len(times) * 99 // 100], "ms")


def flood(contestant: Contestant) -> None:
    """Submitted one by one in a loop, then all results."""
    contestant.results([contestant.submit(nothing, None) for _ in range(CALLS // 10)])
    begun = time.perf_counter()
    handles = [contestant.submit(nothing, None) for _ in range(CALLS)]
    submitted = time.perf_counter() - begun
    contestant.results(handles)
    say(f"{CALLS:,} calls one by one", CALLS / (time.perf_counter() - begun), "calls/s")
    say("  of which the submissions", CALLS / submitted, "calls/s")


def many(contestant: Contestant) -> None:
    """The native map, tiny calls."""
    contestant.map(tiny, CALLS // 10)
    begun = time.perf_counter()
    found = contestant.map(tiny, CALLS)
    say(f"map of {CALLS:,}", CALLS / (time.perf_counter() - begun), "calls/s")
    assert found == list(range(1, CALLS + 1))


def array(contestant: Contestant) -> None:
    """An array there and back; filled, since pages never written cost nothing."""
    import numpy as np

    sent = np.arange(ARRAY_MIB << 17, dtype=np.float64)
    rates = []
    for number in range(1 + ECHOES):
        sent[number] = -number
        begun = time.perf_counter()
        found = contestant.array(sent)
        rates.append(ARRAY_MIB / (time.perf_counter() - begun))
        assert found[number] == -number
        assert found[-1] == sent[-1]
    rates = sorted(rates[1:])
    say(f"{ARRAY_MIB} MiB array echoed", rates[len(rates) // 2], "MiB/s")


MEASURES: dict[str, Callable[[Contestant], None]] = {
    "lone": lone,
    "flood": flood,
    "map": many,
    "array": array,
}


def main(name: str, measures: list[str]) -> None:
    begun = float(os.environ.get("BENCH_BEGUN") or time.monotonic())
    contestant = CONTESTANTS[name]()
    contestant.begin()
    try:
        contestant.result(contestant.submit(nothing, None))
        if "start" in measures:
            say("start to first result", time.monotonic() - begun, "s")
        for measure in measures:
            if measure in MEASURES:
                MEASURES[measure](contestant)
    finally:
        contestant.end()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
