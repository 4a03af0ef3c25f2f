"""One rank knows, then all do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gridloom
import numpy as np

if TYPE_CHECKING:
    from mpi4py.MPI import Comm


@gridloom.mpi(ranks=4)
def settings_for_all(comm: Comm) -> tuple[Any, float]:
    """Any object, and an array in place."""
    settings = {"steps": 10, "method": "implicit"} if comm.rank == 0 else None
    weights = np.arange(5.0) if comm.rank == 0 else np.empty(5)
    settings = comm.bcast(settings, root=0)
    comm.Bcast(weights, root=0)
    return settings, float(weights.sum())


def run(client: gridloom.Client) -> list[tuple[Any, float]]:
    """What each rank has in the end."""
    return list(client.mpi.submit(settings_for_all).result())


if __name__ == "__main__":
    print(run(gridloom.connect()))
