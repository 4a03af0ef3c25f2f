"""How far a call reaches: people as far as their role, the processes of a job as said here."""

from __future__ import annotations

import enum
from dataclasses import replace
from typing import TYPE_CHECKING

from gridloom_services.common.auth import current_principal, project_to_look_at, require_project
from gridloom_services.common.errors import PermissionDeniedError

if TYPE_CHECKING:
    from gridloom_services.common.auth import Principal
    from gridloom_services.scheduler.job import Job
    from gridloom_services.scheduler.query import JobQuery


class Reach(enum.Enum):
    """How far a method reaches for a process inside a job."""

    # Its own job.
    OWN = "its own job"
    # Its own job, and those of its owner in its project: what it has submitted is among them.
    OWNERS = "its own job and its owner's jobs in its project"
    # Whatever is in its project.
    PROJECT = "its project"
    ANYTHING = "anything"


# Methods that are not here are refused to gangs.
GANG_METHODS = {
    "SubmitJobs": Reach.PROJECT,
    "GetJob": Reach.OWNERS,
    "ListJobs": Reach.OWNERS,
    "CancelJobs": Reach.OWNERS,
    "ResizeJob": Reach.OWN,
    "ExplainJob": Reach.OWNERS,
    "WatchJobs": Reach.OWNERS,
    "ListJobEvents": Reach.OWNERS,
    "ReadLogs": Reach.OWNERS,
    "ListNodes": Reach.ANYTHING,
    "ListQueues": Reach.PROJECT,
}


def check_job(method: str, job: Job) -> None:
    """Refuse a job that the caller may not touch with this method."""
    caller = current_principal()
    if not caller.is_gang:
        require_project(job.spec.project, owner=job.owner)
    elif not _reaches(caller, GANG_METHODS[method], job):
        raise PermissionDeniedError(
            f"a process inside {caller.job_id} may call {method} for"
            f" {GANG_METHODS[method].value}, not for {job.id}",
            role="submitter",
            given=job.id,
            allowed=GANG_METHODS[method].value,
        )


def _reaches(caller: Principal, reach: Reach, job: Job) -> bool:
    if job.id == caller.job_id:
        return True
    in_project = job.spec.project == caller.project
    return reach is Reach.OWNERS and in_project and job.owner == caller.name


def narrowed(query: JobQuery) -> JobQuery:
    """Return a query for what the caller may see of what is asked."""
    caller = current_principal()
    if caller.is_gang:
        return replace(query, project=caller.project, owner=caller.name)
    return replace(query, project=project_to_look_at(query.project))
