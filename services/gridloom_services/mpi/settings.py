"""What the mpi service may be told: `GRIDLOOM_MPI_...`."""

from __future__ import annotations

from gridloom.values import dataclass
from gridloom.worker.mpi.spec import IMPLEMENTATIONS, MPICH

from gridloom_services.common.settings import bounded


@dataclass(frozen=True, slots=True)
class MpiSettings:
    """What holds for jobs that do not say."""

    implementation: str = bounded(MPICH, choices=IMPLEMENTATIONS)
    # "3.11=gridloom/worker:0.1.0-py3.11,3.12=...": what ranks run in whose job names no image.
    # Empty: they run on this machine, with the client's own interpreter.
    worker_images: tuple[str, ...] = ()
