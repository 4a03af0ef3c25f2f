"""How values are said to people: states in colour, times as ages, resources as amounts."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gridloom import units
from gridloom.jobs.states import JobState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom.jobs.info import JobInfo

_STYLES = {
    JobState.HELD: "yellow",
    JobState.QUEUED: "yellow",
    JobState.STARTING: "cyan",
    JobState.RUNNING: "cyan",
    JobState.SUCCEEDED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "magenta",
}


# "main.0 on node7: " before what happened to a replica.
_WHOSE = re.compile(r"(?:^|(?<=: ))[\w-]+\.\d+ on \S+: ")


def state_word(state: JobState) -> tuple[str, str]:
    """A state and its colour."""
    return state.value, _STYLES[state]


def job_state(job: JobInfo) -> tuple[str, str]:
    """A job's state; of an array also how many elements are over."""
    if not job.elements:
        return state_word(job.state)
    over = sum(count for state, count in job.counts().items() if state.is_final)
    return f"{job.state.value} {over}/{job.elements}", _STYLES[job.state]


def array_states(job: JobInfo) -> str:
    """How many elements are in which state: "97 SUCCEEDED, 2 FAILED"."""
    return ", ".join(f"{count:,} {state.value}" for state, count in job.counts().items())


def age(moment: datetime | None) -> str:
    """How long ago."""
    if moment is None:
        return "-"
    return units.format_duration(max(0.0, (datetime.now(UTC) - moment).total_seconds()))


def moment(point: datetime | None) -> str:
    """A point in local time, with how long ago it was."""
    if point is None:
        return "-"
    return f"{point.astimezone():%Y-%m-%d %H:%M:%S} ({age(point)} ago)"


def short_reason(job: JobInfo) -> str:
    """Why it is in its state, without naming the job itself or the only process that it has."""
    is_alone = sum(role.replicas for role in job.roles) == 1
    reason = job.reason.replace(f"{job.id}.", "element ")
    return _WHOSE.sub("", reason) if is_alone else reason


def run_time(job: JobInfo) -> str:
    """How long it ran, or has been running."""
    run_s = job.run_s()
    return "-" if run_s is None else units.format_duration(run_s)


def amount(name: str, value: int) -> str:
    """An amount of a resource: "4 cpus", "8 GiB", "2 nvidia.com/gpu"."""
    if name == "cpu":
        return f"{units.format_cpus(value)} {'cpu' if value == units.CPU else 'cpus'}"
    if name == "memory":
        return units.format_bytes(value)
    return f"{value} {name}"


def amounts(resources: Mapping[str, int]) -> str:
    """Amounts of several resources."""
    return ", ".join(amount(name, value) for name, value in sorted(resources.items())) or "-"
