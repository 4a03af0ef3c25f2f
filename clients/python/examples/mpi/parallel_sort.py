"""A sort by samples: each rank sorts its part, cuts it at common splitters, merges its range."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gridloom
import numpy as np

if TYPE_CHECKING:
    from mpi4py.MPI import Comm


@gridloom.mpi(ranks=4)
def sample_sort(comm: Comm, per_rank: int) -> tuple[Any, float]:
    """This rank's range of all numbers, sorted; and the sum of what it began with."""
    own = np.random.default_rng(comm.rank).random(per_rank)
    before = float(own.sum())
    own.sort()
    samples = comm.allgather(own[:: max(1, per_rank // comm.size)])
    splitters = np.quantile(np.concatenate(samples), np.linspace(0, 1, comm.size + 1)[1:-1])
    parts = np.split(own, np.searchsorted(own, splitters))
    received = np.concatenate(comm.alltoall(parts))
    received.sort()
    return received, before


def run(client: gridloom.Client, per_rank: int = 5000) -> tuple[Any, float]:
    """All numbers in order, and their sum before the sort."""
    ranges = client.mpi.submit(sample_sort, per_rank).result()
    return np.concatenate([part for part, _ in ranges]), sum(total for _, total in ranges)


if __name__ == "__main__":
    in_order, _ = run(gridloom.connect())
    print(f"{len(in_order):,} numbers, in order: {bool((np.diff(in_order) >= 0).all())}")
