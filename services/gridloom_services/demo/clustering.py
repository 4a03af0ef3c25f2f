"""The demo's last stage: k-means over the ranks of an MPI job, and how it scales."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import gridloom
from gridloom.errors import JobFailedError, VersionMismatchError
from gridloom.values import dataclass

from gridloom_services.demo.modules import users_module

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from gridloom.client import Client
    from gridloom.mpi_jobs.function import MpiFunction
    from gridloom.studies.study import ScalingStudy

REPEATS = 3
MOST_RANKS = 8
# What the agent of ranks says where it has no MPI.
_NOT_INSTALLED = re.compile(
    r"(?:Open MPI|MPICH) is not installed where the ranks run: pip install \S+"
)


class NoMpiError(Exception):
    """MPI jobs cannot run on this platform; the message says why."""


@dataclass(frozen=True)
class Clusters:
    """What k-means has found, and the function that found it."""

    function: MpiFunction[..., Any]
    ranks: int
    loss: float
    purity: float

    @property
    def said(self) -> str:
        """In a sentence."""
        return (
            f"k-means on {self.ranks} ranks: {100 * self.purity:.1f} % of digits are in a cluster"
            " of their own kind"
        )


def clustered(
    client: Client,
    folder: Path,
    images: np.ndarray[Any, Any],
    labels: np.ndarray[Any, Any],
    most: int,
) -> Clusters:
    """Once on all ranks. NoMpiError: the service is not served, or MPI is not where ranks run."""
    own = users_module(folder, "clusters")
    ranks = widths(most)[-1]
    function = gridloom.mpi(ranks=ranks, result="root", name="demo-kmeans")(own.kmeans)
    try:
        centres, loss = client.mpi.submit(function, images).result()
    except VersionMismatchError as error:
        raise NoMpiError("the service mpi is not served by this platform") from error
    except JobFailedError as error:
        if reason := missing_mpi(error.message):
            raise NoMpiError(reason) from error
        raise
    except ModuleNotFoundError as error:
        raise NoMpiError(f"{error} where the ranks run") from error
    return Clusters(function, ranks, loss, own.purity(images, labels, centres))


def missing_mpi(said: str) -> str:
    """What of a job's error says that MPI is not there; empty: nothing does."""
    found = _NOT_INSTALLED.search(said)
    return found[0] if found else ""


def scaled(
    client: Client,
    found: Clusters,
    images: np.ndarray[Any, Any],
    most: int,
    *,
    progress: bool | None,
) -> ScalingStudy:
    """The same on fewer ranks, too, several times each."""
    call = found.function.s(images)
    return client.scaling_study(call, widths(most), repeats=REPEATS, progress=progress)


def widths(most: int) -> list[int]:
    """1, 2, 4 and so on: not more than there are workers, nor more than a demo needs."""
    return [width for width in (1, 2, 4, MOST_RANKS) if width <= max(most, 1)]


def findings_of(study: ScalingStudy) -> str:
    """Its figures in a sentence."""
    widest = study.points[-1]
    times = f"{study.reference.seconds:.2f} s on 1 rank, {widest.seconds:.2f} s on {widest.width}"
    if study.law is None:
        return times
    return f"{times}, speedup {widest.speedup:.2f}, serial {100 * study.law.serial:.1f} %"
