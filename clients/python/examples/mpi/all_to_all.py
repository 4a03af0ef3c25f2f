"""The transpose of a matrix whose rows are spread over the ranks: everybody sends to everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gridloom
import numpy as np

if TYPE_CHECKING:
    from mpi4py.MPI import Comm


@gridloom.mpi(ranks=4)
def transposed_rows(comm: Comm, rows_each: int) -> Any:
    """Each rank's rows of the transpose of the matrix that counts from 0."""
    size = rows_each * comm.size
    first = comm.rank * rows_each
    own = np.arange(size * size, dtype=float).reshape(size, size)[first : first + rows_each]
    blocks = np.ascontiguousarray(own.reshape(rows_each, comm.size, rows_each).transpose(1, 2, 0))
    received = np.empty_like(blocks)
    comm.Alltoall(blocks, received)
    return received.transpose(1, 0, 2).reshape(rows_each, size)


def run(client: gridloom.Client) -> Any:
    """The whole transpose, put together from all ranks."""
    return np.vstack(client.mpi.submit(transposed_rows, 3).result())


if __name__ == "__main__":
    print(run(gridloom.connect()))
