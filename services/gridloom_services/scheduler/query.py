"""What a listing or a watch asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.values import dataclass

if TYPE_CHECKING:
    from gridloom_services.scheduler.job import Job
    from gridloom_services.scheduler.selector import Requirement
    from gridloom_services.scheduler.states import JobState


@dataclass(frozen=True, slots=True)
class JobQuery:
    """Conditions that all must hold; an empty one always does."""

    project: str = ""
    queue: str = ""
    owner: str = ""
    kind: str = ""
    states: frozenset[JobState] = frozenset()
    labels: tuple[Requirement, ...] = ()
    job_ids: frozenset[str] = frozenset()

    def matches(self, job: Job) -> bool:
        """Say whether a job is asked for."""
        spec = job.spec
        return (
            self.project in {"", spec.project}
            and self.queue in {"", spec.queue}
            and self.owner in {"", job.owner}
            and self.kind in {"", spec.kind}
            and (not self.states or job.state in self.states)
            and (not self.job_ids or job.id in self.job_ids)
            and all(each.holds(spec.labels) for each in self.labels)
        )
