"""What the mpi service may be told: `GRIDLOOM_MPI_...`."""

from __future__ import annotations

from gridloom.values import dataclass
from gridloom.worker.mpi.spec import IMPLEMENTATIONS, MPICH

from gridloom_services.common.settings import bounded


@dataclass(frozen=True, slots=True)
class MpiSettings:
    """What holds for jobs that do not say."""

    implementation: str = bounded(MPICH, choices=IMPLEMENTATIONS)
    # Empty: ranks run in the platform's own environment, or in the image that a job names.
    image: str = ""
