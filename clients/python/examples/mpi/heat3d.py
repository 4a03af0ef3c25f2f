"""The heat equation in three dimensions: each rank has a slab and its neighbours' next planes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gridloom
import numpy as np

if TYPE_CHECKING:
    from mpi4py.MPI import Comm

RATE = 0.1


def stepped(field: Any) -> Any:
    """One explicit step of everything but the outermost planes, which stay."""
    inner = field[1:-1, 1:-1, 1:-1]
    around = (
        field[2:, 1:-1, 1:-1]
        + field[:-2, 1:-1, 1:-1]
        + field[1:-1, 2:, 1:-1]
        + field[1:-1, :-2, 1:-1]
        + field[1:-1, 1:-1, 2:]
        + field[1:-1, 1:-1, :-2]
    )
    new = field.copy()
    new[1:-1, 1:-1, 1:-1] = inner + RATE * (around - 6 * inner)
    return new


def initial(size: int) -> Any:
    """A hot cube in a cold one."""
    field = np.zeros((size, size, size))
    quarter = size // 4
    field[quarter:-quarter, quarter:-quarter, quarter:-quarter] = 1.0
    return field


@gridloom.mpi(ranks=4)
def heat(comm: Comm, size: int, steps: int) -> Any:
    """Each rank's slab after so many steps; before each step the planes between are exchanged."""
    from mpi4py import MPI

    bounds = np.linspace(0, size, comm.size + 1).astype(int)
    first, end = bounds[comm.rank], bounds[comm.rank + 1]
    below = comm.rank - 1 if comm.rank else MPI.PROC_NULL
    above = comm.rank + 1 if comm.rank + 1 < comm.size else MPI.PROC_NULL
    # One plane more on each side, but at the ends of the whole.
    low, high = max(first - 1, 0), min(end + 1, size)
    slab = np.ascontiguousarray(initial(size)[low:high])
    own = slice(first - low, end - low)
    for _ in range(steps):
        # What goes down, and comes from above; and the other way.
        comm.Sendrecv(slab[own][0].copy(), dest=below, recvbuf=slab[-1], source=above)
        comm.Sendrecv(slab[own][-1].copy(), dest=above, recvbuf=slab[0], source=below)
        slab = stepped(slab)
    return slab[own]


def run(client: gridloom.Client, size: int = 24, steps: int = 20) -> tuple[Any, Any]:
    """The field from all ranks, and as one process computes it."""
    field = np.concatenate(client.mpi.submit(heat, size, steps).result())
    alone = initial(size)
    for _ in range(steps):
        alone = stepped(alone)
    return field, alone


if __name__ == "__main__":
    found, expected = run(gridloom.connect())
    print(f"largest difference to one process: {abs(found - expected).max():.1e}")
