"""What a run has measured, before it is a run of the study."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gridloom.studies.study import Run
from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gridloom.jobs.info import JobInfo
    from gridloom.studies.work import Turn


@dataclass(frozen=True, slots=True)
class Stretch:
    """The time of the work itself; `ready_at` is a point in time by the clock of where it ran."""

    ready_at: float
    seconds: float
    cores: int
    hosts: int

    def run(self, turn: Turn, job: JobInfo, needed: int) -> Run:
        """The run that a turn came to. Clocks of two machines may differ: no wait is below 0."""
        submitted = job.submitted_at.timestamp() if job.submitted_at else self.ready_at
        started = job.started_at.timestamp() if job.started_at else self.ready_at
        return Run(
            width=turn.width,
            repeat=turn.repeat,
            seconds=self.seconds,
            queued_s=max(0.0, started - submitted),
            starting_s=max(0.0, self.ready_at - started),
            cores=self.cores,
            needed=needed,
            hosts=self.hosts,
            job_id=job.id,
        )


def cores_of(places: Iterable[Mapping[str, Any]]) -> int:
    """How many processors processes in these places have together: see `worker.measuring`.

    Processes of one host share its processors, whichever of them each may use.
    """
    cpus: dict[str, set[int]] = {}
    limits: dict[str, float] = {}
    for place in places:
        host = place["host"]
        cpus.setdefault(host, set()).update(place["cpus"])
        limits[host] = min(limits.get(host, math.inf), place["limit"] or math.inf)
    return sum(min(len(cpus[host]), _whole(limits[host])) for host in cpus)


def _whole(limit: float) -> int:
    """A share of processors as a number of them; a part of one counts."""
    return 2**31 if math.isinf(limit) else max(1, math.ceil(limit))
