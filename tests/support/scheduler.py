"""Jobs to test with: everything has a default, so a test says only what it is about."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

from gridloom_services.scheduler.job import Job
from gridloom_services.scheduler.queue import WEEK_S
from gridloom_services.scheduler.runs import Run
from gridloom_services.scheduler.spec import ArraySpec, JobSpec, Range, Role
from gridloom_services.scheduler.states import JobState

NOW_US = 1_000_000_000_000_000


def a_role(name: str = "main", *, cpu: int = 1000, memory: int = 0, **changes: Any) -> Role:
    resources = {"cpu": cpu} | ({"memory": memory} if memory else {})
    role = Role(name=name, command=("true",), resources=MappingProxyType(resources))
    if "replicas" in changes and "min_replicas" not in changes:
        changes["min_replicas"] = changes["replicas"]
    return replace(role, **changes)


def a_spec(*roles: Role, **changes: Any) -> JobSpec:
    return replace(
        JobSpec(project="default", queue="default", roles=roles or (a_role(),)), **changes
    )


def an_array(size: int, max_parallel: int = 0) -> ArraySpec:
    return ArraySpec((Range(0, size - 1),), max_parallel)


def a_job(sequence: int = 1, spec: JobSpec | None = None, **changes: Any) -> Job:
    spec = spec or a_spec()
    state = changes.get("state", JobState.QUEUED)
    job = Job(
        sequence=sequence,
        id=f"job_{sequence}",
        spec=spec,
        owner="ada",
        state=state,
        submitted_us=NOW_US,
        time_limit_s=WEEK_S,
        revision=sequence,
        queued_us=NOW_US,
        runs=(Run(0, spec.elements, state),) if spec.array else (),
    )
    return replace(job, **changes)
