"""Parts of an array to all ranks, and their results back to one: equal parts, and others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gridloom
import numpy as np

if TYPE_CHECKING:
    from mpi4py.MPI import Comm


@gridloom.mpi(ranks=4, result="root")
def squares(comm: Comm, per_rank: int) -> Any:
    """Scatter and gather of equal parts."""
    whole = np.arange(per_rank * comm.size, dtype=float) if comm.rank == 0 else None
    part = np.empty(per_rank)
    comm.Scatter(whole, part, root=0)
    result = np.empty(per_rank * comm.size) if comm.rank == 0 else None
    comm.Gather(part**2, result, root=0)
    return result


@gridloom.mpi(ranks=4, result="root")
def squares_of_any_size(comm: Comm, size: int) -> Any:
    """The same where the size is no multiple of the ranks."""
    counts = [size // comm.size + (rank < size % comm.size) for rank in range(comm.size)]
    whole = np.arange(size, dtype=float) if comm.rank == 0 else None
    part = np.empty(counts[comm.rank])
    comm.Scatterv([whole, counts], part, root=0)
    result = np.empty(size) if comm.rank == 0 else None
    comm.Gatherv(part**2, [result, counts], root=0)
    return result


def run(client: gridloom.Client) -> list[Any]:
    """The squares, as rank 0 has them."""
    return [
        client.mpi.submit(squares, 3).result(),
        client.mpi.submit(squares_of_any_size, 10).result(),
    ]


if __name__ == "__main__":
    print(run(gridloom.connect()))
