"""Four ranks over two nodes, and what they run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gridloom.client import Client

RANKS = 4

# What each rank says: its node; and rank 0 their sum, which has gone over the network.
HELLO = """
import os
from mpi4py import MPI
comm = MPI.COMM_WORLD
print(os.environ["GRIDLOOM_NODE"])
total = comm.allreduce(comm.rank)
if comm.rank == 0:
    print("sum", total)
"""


OVER_TWO_NODES: dict[str, Any] = {
    "ranks": RANKS,
    "ranks_per_node": RANKS // 2,
    "cpus": 0.2,
    "timeout": "2m",
}


def too_large_for_one(client: Client) -> dict[str, Any]:
    """Words of an MPI job that no node can hold, and that says nothing of nodes."""
    least = min(node.capacity["cpu"] for node in client.nodes())
    return {"ranks": RANKS, "cpus": least / 2 / 1000, "timeout": "2m"}


def where(comm: Any) -> str:
    """The rank's node, once all of them have met."""
    comm.Barrier()
    return os.environ["GRIDLOOM_NODE"]


def shared(comm: Any, length: int) -> tuple[float, list[int]]:
    """A sum over all ranks by the network, and one over those of this node by shared memory."""
    import numpy as np
    from mpi4py import MPI

    mine = np.full(1000, comm.rank, dtype="d")
    total = np.empty_like(mine)
    comm.Allreduce(mine, total)
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    window = MPI.Win.Allocate_shared(8 * length if node.rank == 0 else 0, 8, comm=node)
    memory, _ = window.Shared_query(0)
    values = np.ndarray(buffer=memory, dtype="d", shape=(length,))
    if node.rank == 0:
        values[:] = comm.rank
    node.Barrier()
    seen = float(values.sum()) / length
    node.Barrier()
    window.Free()
    return float(total[-1]), [int(seen), node.size]


def fails_on(comm: Any, rank: int) -> None:
    """One rank has enough; the others wait for it."""
    if comm.rank == rank:
        raise ValueError(f"rank {rank} will not")
    comm.Barrier()


def dies_on(comm: Any, rank: int) -> None:
    """One rank is gone without a word."""
    if comm.rank == rank:
        os._exit(9)
    comm.Barrier()


def waits(comm: Any) -> None:
    """For a message that nobody sends."""
    comm.Barrier()
    comm.recv()
