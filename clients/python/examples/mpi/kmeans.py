"""k-means on the handwritten digits: samples are spread over ranks, the centres are everybody's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gridloom
import numpy as np

if TYPE_CHECKING:
    from mpi4py.MPI import Comm


@gridloom.mpi(ranks=4, result="root")
def kmeans(comm: Comm, clusters: int, rounds: int) -> tuple[Any, float]:
    """Centres, and the sum of squared distances to them. Any number of ranks gives the same."""
    samples, centres = digits(clusters)
    own = np.array_split(samples, comm.size)[comm.rank]
    loss = 0.0
    for _ in range(rounds):
        nearest, loss = assigned(own, centres)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, own)
        counts = np.bincount(nearest, minlength=clusters).astype(float)
        sums, counts = comm.allreduce(sums), comm.allreduce(counts)
        loss = comm.allreduce(loss)
        centres = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
    return centres, loss


def digits(clusters: int) -> tuple[Any, Any]:
    """1,797 images of 64 pixels, and the first few as centres to begin with."""
    from sklearn.datasets import load_digits

    samples = load_digits().data
    return samples, samples[:clusters].copy()


def assigned(samples: Any, centres: Any) -> tuple[Any, float]:
    """The nearest centre of each sample, and the squared distances together."""
    distances = ((samples[:, None, :] - centres[None]) ** 2).sum(axis=2)
    return distances.argmin(axis=1), float(distances.min(axis=1).sum())


def run(client: gridloom.Client, rounds: int = 20) -> list[tuple[Any, float]]:
    """With one rank, and with four."""
    return [client.mpi.submit(kmeans.options(ranks=ranks), 10, rounds).result() for ranks in (1, 4)]


if __name__ == "__main__":
    for _, inertia in run(gridloom.connect()):
        print(f"inertia {inertia:,.0f}")
