"""Neighbours: ranks on a torus of two dimensions, each with one on every side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gridloom

if TYPE_CHECKING:
    from mpi4py.MPI import Comm


@gridloom.mpi(ranks=4)
def neighbours(comm: Comm) -> dict[str, Any]:
    """Where each rank is, and what all of its neighbours tell it at once."""
    from mpi4py import MPI

    shape = MPI.Compute_dims(comm.size, 2)
    torus = comm.Create_cart(shape, periods=[True, True])
    return {
        "place": tuple(torus.Get_coords(torus.rank)),
        "rows": torus.Shift(0, 1),
        "columns": torus.Shift(1, 1),
        "told": torus.neighbor_allgather(torus.rank),
    }


def run(client: gridloom.Client) -> list[dict[str, Any]]:
    """What each rank has found."""
    return list(client.mpi.submit(neighbours).result())


if __name__ == "__main__":
    print(run(gridloom.connect()))
