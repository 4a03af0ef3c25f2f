"""Messages from rank to rank: around a ring, and both ways at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gridloom
import numpy as np

if TYPE_CHECKING:
    from mpi4py.MPI import Comm

RANKS = 4


@gridloom.mpi(ranks=RANKS)
def ring(comm: Comm) -> int:
    """Blocking: a number goes around, and each rank adds its own to it."""
    after, before = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    if comm.rank == 0:
        comm.send(0, dest=after)
        return int(comm.recv(source=before))
    total = int(comm.recv(source=before)) + comm.rank
    comm.send(total, dest=after)
    return total


@gridloom.mpi(ranks=RANKS)
def exchange(comm: Comm, size: int) -> tuple[float, float]:
    """Not blocking: each sends to both neighbours and works while messages are on their way."""
    sides = (comm.rank - 1) % comm.size, (comm.rank + 1) % comm.size
    own = np.full(size, float(comm.rank))
    theirs = [np.empty(size), np.empty(size)]
    requests = [comm.Irecv(buffer, source=side) for buffer, side in zip(theirs, sides, strict=True)]
    requests += [comm.Isend(own, dest=side) for side in sides]
    work = float(own.sum())
    for request in requests:
        request.Wait()
    return work, float(sum(buffer.sum() for buffer in theirs))


def run(client: gridloom.Client) -> dict[str, Any]:
    """What each rank has in the end."""
    return {
        "ring": client.mpi.submit(ring).result(),
        "exchange": client.mpi.submit(exchange, 1000).result(),
    }


if __name__ == "__main__":
    print(run(gridloom.connect()))
