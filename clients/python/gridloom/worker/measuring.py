"""What runs inside a job of a scaling study: the clock, and a look at the processors there.

Imported by every rank that is measured, before its clock runs: it imports next to nothing itself.
"""

from __future__ import annotations

import os
import time

# What type checkers read; see `gridloom/__init__.py`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_CGROUPS = "/sys/fs/cgroup"


def timed_rank(
    comm: Any, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Run the function on this rank; how long all ranks together took for it.

    The clock runs from a barrier of all ranks to another one after the function. What the function
    returns is let go.
    """
    comm.Barrier()
    ready_at, begun = time.time(), time.perf_counter()
    function(comm, *args, **kwargs)
    comm.Barrier()
    return {"ready_at": ready_at, "seconds": time.perf_counter() - begun, **processors()}


def processors() -> dict[str, Any]:
    """Where this process is and which processors it may use; `limit` is its cgroup's share."""
    return {
        "host": os.uname().nodename,
        "cpus": sorted(os.sched_getaffinity(0)),
        "limit": min(_quotas(), default=None),
    }


def _quotas() -> Iterator[float]:
    """Processors that this process's group, and those above it, may use (cgroup version 2)."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:  # noqa: PTH123
            path = next((line[3:].strip() for line in file if line.startswith("0::")), "/")
    except OSError:
        return
    steps = [step for step in path.split("/") if step]
    for depth in range(len(steps) + 1):
        place = "/".join([_CGROUPS, *steps[:depth], "cpu.max"])
        try:
            with open(place, encoding="ascii") as file:  # noqa: PTH123
                quota, period = file.read().split()
        except (OSError, ValueError):
            continue
        if quota != "max":
            yield int(quota) / int(period)
