"""k-means over ranks: the digits are spread over them, the centres are everybody's.

The MPI function of the demo. Imports nothing of Gridloom: it gets the communicator.
"""

from __future__ import annotations

from typing import Any

import numpy as np

CLUSTERS = 10
STARTS = 8
MOST_ROUNDS = 100
SEED = 7


def kmeans(comm: Any, images: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], float]:
    """The best of several starts: its centres, and the sum of squared distances to them.

    Any number of ranks finds the same. All starts go on together, so that a round is one message.
    Lloyd's algorithm: S. P. Lloyd, "Least squares quantization in PCM", IEEE Transactions on
    Information Theory 28:2 (1982), 129-137.

    Args:
        comm: an mpi4py communicator.
        images: float64 of shape (samples, pixels), the same on every rank.
    """
    own = np.array_split(images, comm.Get_size())[comm.Get_rank()]
    centres = _starts(images)
    clusters = [np.full(len(own), -1) for _ in centres]
    for _ in range(MOST_ROUNDS):
        sums = [_sums(own, *each) for each in zip(centres, clusters, strict=True)]
        mine, clusters = np.stack([each[0] for each in sums]), [each[1] for each in sums]
        together = np.empty_like(mine)
        comm.Allreduce(mine, together)
        counts, (losses, moves) = together[:, :, -2, None], together[:, :2, -1].T
        # Whole numbers: every rank sees the same, and all of them stop.
        if not moves.any():
            break
        centres = np.where(counts > 0, together[:, :, :-2] / np.maximum(counts, 1), centres)
    best = int(losses.argmin())
    return centres[best], float(losses[best])


def nearest(images: np.ndarray[Any, Any], centres: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Squared distances of shape (samples, clusters)."""
    distances = ((images[:, None, :] - centres[None]) ** 2).sum(axis=2)
    return np.asarray(distances)


def purity(
    images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], centres: np.ndarray[Any, Any]
) -> float:
    """The share of digits that are in a cluster where theirs is the most frequent digit."""
    cluster = nearest(images, centres).argmin(axis=1)
    most = [np.bincount(labels[cluster == number], minlength=1).max() for number in set(cluster)]
    return float(sum(most)) / len(labels)


def _starts(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Digits by lot as centres to begin with, the same ones on every rank."""
    lots = np.random.default_rng(SEED)
    chosen = [lots.choice(len(images), CLUSTERS, replace=False) for _ in range(STARTS)]
    return np.stack([images[each] for each in chosen])


def _sums(
    own: np.ndarray[Any, Any], centres: np.ndarray[Any, Any], before: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """What a rank adds to a round, and the cluster of each of its digits.

    A row a cluster: the sum of its digits and how many they are. The last column has room for the
    loss and for how many digits have moved.
    """
    distances = nearest(own, centres)
    cluster = distances.argmin(axis=1)
    mine = np.zeros((CLUSTERS, own.shape[1] + 2))
    np.add.at(mine[:, :-2], cluster, own)
    mine[:, -2] = np.bincount(cluster, minlength=CLUSTERS)
    mine[:2, -1] = distances.min(axis=1).sum(), np.count_nonzero(cluster != before)
    return mine, cluster
