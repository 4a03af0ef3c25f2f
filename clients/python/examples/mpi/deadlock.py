"""Two ranks that wait for each other; where Gridloom shows them waiting; and the remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gridloom
from gridloom.errors import TimeLimitError

if TYPE_CHECKING:
    from mpi4py.MPI import Comm


@gridloom.mpi(ranks=2, timeout="2s")
def both_send_first(comm: Comm) -> str:
    """A synchronous send returns when the other receives, and the other sends as well."""
    other = 1 - comm.rank
    comm.ssend(f"from {comm.rank}", dest=other)
    return str(comm.recv(source=other))


@gridloom.mpi(ranks=2, timeout="30s")
def both_at_once(comm: Comm) -> str:
    """The remedy: send and receive in one call, which MPI brings to an end on both sides."""
    other = 1 - comm.rank
    return str(comm.sendrecv(f"from {comm.rank}", dest=other, source=other))


def run(client: gridloom.Client) -> tuple[str, list[str]]:
    """What the deadlock looks like, and what each rank gets with the remedy."""
    try:
        client.mpi.submit(both_send_first).result()
        seen = "no deadlock"
    except TimeLimitError as error:
        seen = str(error)
    return seen, client.mpi.submit(both_at_once).result()


if __name__ == "__main__":
    picture, received = run(gridloom.connect())
    print(picture, received, sep="\n\n")
