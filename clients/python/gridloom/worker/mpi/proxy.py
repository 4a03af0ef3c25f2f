"""Hydra's proxy, the process between `mpiexec` and the ranks of a host.

When it is killed, its ranks live on as orphans, and `mpiexec` waits for it for ever (seen with
MPICH 5.0.2). So the agent watches it, too.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gridloom.worker.mpi.streams import Ears

# As the kernel has it: at most 15 characters.
PROXY = "hydra_pmi_proxy"
_LOOK_AGAIN_S = 0.05
_LOOKS = 100
# Of a job that ends well the launcher ends right after it.
_GRACE_S = 1.0


class Proxy:
    """Looked for until it is found: the launcher starts it in some milliseconds."""

    def __init__(self, ears: Ears) -> None:
        self._ears = ears
        self._looks = _LOOKS
        self._over_at: float | None = None

    def pause_s(self, longest_s: float) -> float:
        """How long nobody has to look."""
        if self._over_at is not None:
            return min(longest_s, _GRACE_S)
        return min(longest_s, _LOOK_AGAIN_S) if self._looks else longest_s

    def look(self, launcher: int) -> None:
        """Find it below the launcher, and listen for its end."""
        if not self._looks:
            return
        # Loaded while ranks start: the start of an agent is a part of every job's.
        from gridloom.worker.supervision.processes import children, read_proc

        self._looks -= 1
        for pid in children(launcher):
            if read_proc(f"{pid}/comm").strip() == PROXY.encode():
                self._looks = 0
                self._ears.when_over(pid, self._is_over)

    def _is_over(self) -> None:
        self._over_at = time.monotonic()

    def is_lost(self) -> bool:
        """It is gone for a while, and nobody draws a conclusion."""
        return self._over_at is not None and time.monotonic() >= self._over_at + _GRACE_S
