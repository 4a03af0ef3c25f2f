"""Jobs as the platform would describe them."""

from __future__ import annotations

from typing import Any

from gridloom.api.scheduler.v1 import job_pb2

JOB = "job_" + "0" * 25 + "1"
OTHER = "job_" + "0" * 25 + "2"


def job(state: str = "RUNNING", job_id: str = JOB, **fields: Any) -> job_pb2.Job:
    spec = job_pb2.JobSpec(name="solver", project="chem", queue="cpu", kind="command")
    spec.roles.add(name="main", replicas=1, command=["./solver"], resources={"memory": 1024})
    spec.time_limit.FromSeconds(7200)
    message = job_pb2.Job(
        id=job_id,
        spec=spec,
        state=job_pb2.JobState.Value(f"JOB_STATE_{state}"),
        attempt=1,
        owner="ada",
        **fields,
    )
    message.submitted_at.FromSeconds(1_000_000)
    if state not in {"HELD", "QUEUED"}:
        message.started_at.FromSeconds(1_000_010)
    if state in {"SUCCEEDED", "FAILED", "CANCELLED"}:
        message.ended_at.FromSeconds(1_000_070)
    return message


def array(states: dict[str, int], state: str = "RUNNING", step: int = 1) -> job_pb2.Job:
    """An array whose elements are, in order, so many in each of the states."""
    message = job(state)
    first = 0
    for name, count in states.items():
        number = job_pb2.JobState.Value(f"JOB_STATE_{name}")
        message.array.runs.add(first=first, count=count, state=number)
        first += count
    message.array.size = first
    message.spec.array.ranges.add(first=0, last=(first - 1) * step, step=step)
    return message
