"""The ten reductions: one value from those of all ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gridloom

if TYPE_CHECKING:
    from mpi4py.MPI import Comm


@gridloom.mpi(ranks=4)
def reductions(comm: Comm) -> dict[str, Any]:
    """Each over the ranks' numbers plus one: 1, 2, 3, 4; every rank gets the result."""
    from mpi4py import MPI

    own = comm.rank + 1
    found = {
        name: comm.allreduce(own, op=getattr(MPI, name)) for name in ("MAX", "MIN", "SUM", "PROD")
    }
    found |= {name: comm.allreduce(own, op=getattr(MPI, name)) for name in ("BAND", "BOR")}
    is_small = own < comm.size
    found |= {name: comm.allreduce(is_small, op=getattr(MPI, name)) for name in ("LAND", "LOR")}
    # The value and who has it: the furthest from 2.4, and the nearest to it.
    distance = abs(own - 2.4), comm.rank
    found |= {
        name: comm.allreduce(distance, op=getattr(MPI, name))[1] for name in ("MAXLOC", "MINLOC")
    }
    return found


def run(client: gridloom.Client) -> list[dict[str, Any]]:
    """What each rank has in the end."""
    return list(client.mpi.submit(reductions).result())


if __name__ == "__main__":
    print(run(gridloom.connect()))
