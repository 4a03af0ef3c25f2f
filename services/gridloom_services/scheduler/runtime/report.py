"""What a local unit's files say about its replicas. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gridloom_services.scheduler.runtime.base import Phase, ReplicaStatus
from gridloom_services.scheduler.states import FailureClass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gridloom.worker.supervision.handover import End, ReplicaEnd, State

    from gridloom_services.scheduler.runtime.folders import Stored
    from gridloom_services.scheduler.runtime.units import Unit


def live_statuses(gang: str, unit: Unit, state: State | None) -> Iterator[ReplicaStatus]:
    """Statuses of a unit that has not ended (or whose outputs are not stored yet).

    Where all replicas of a shared process have been reported, the last of them lives until the
    process has ended: an ended gang has nothing that runs.
    """
    ended = {} if state is None else state.ended
    bearer = _bearer(unit, ended)
    for index in unit.known:
        status = _starting(gang, unit, index)
        if state is not None:
            status = replace(status, phase=Phase.RUNNING, started_at=state.started_at)
        if str(index) in ended and index != bearer:
            status = _reported(status, ended[str(index)])
        yield status


def final_statuses(gang: str, unit: Unit, end: End, stored: Stored) -> Iterator[ReplicaStatus]:
    """Statuses of a unit that has ended. What counts once is on one replica."""
    bearer = _bearer(unit, end.ended)
    for index in unit.known:
        status = replace(_starting(gang, unit, index), started_at=end.started_at)
        if str(index) in end.ended:
            status = _reported(status, end.ended[str(index)])
        else:
            status = _ended(status, end, stored.failure)
        if index == bearer:
            status = replace(
                status,
                cpu_seconds=end.cpu_seconds,
                peak_memory_bytes=end.peak_memory_bytes,
                outputs=stored.files,
            )
        yield status


def _bearer(unit: Unit, ended: Mapping[str, ReplicaEnd]) -> int:
    """Return who bears the costs: the lowest that ends with the process, else the last to end."""
    remaining = [index for index in unit.known if str(index) not in ended]
    if remaining:
        return min(remaining)
    return max(unit.known, key=lambda index: (ended[str(index)].ended_at, index))


def _starting(gang: str, unit: Unit, index: int) -> ReplicaStatus:
    return ReplicaStatus(gang, unit.role, index, Phase.STARTING, unit.node, unit.log_index)


def _reported(status: ReplicaStatus, end: ReplicaEnd) -> ReplicaStatus:
    return replace(
        status,
        phase=Phase.ENDED,
        exit_code=end.exit_code,
        signal=end.signal,
        failure_class=FailureClass[end.failure_class],
        reason=f"exit code {end.exit_code}" if end.exit_code else "",
        ended_at=end.ended_at,
    )


def _ended(status: ReplicaStatus, end: End, storing_failed: str) -> ReplicaStatus:
    failure_class, reason = FailureClass[end.failure_class], end.reason
    if storing_failed:
        # The work is done and its fruit is lost: the platform's fault, so it may be done again.
        failure_class = failure_class or FailureClass.NODE_LOST
        reason = f"{reason}; {storing_failed}" if reason else storing_failed
    return replace(
        status,
        phase=Phase.ENDED,
        exit_code=end.exit_code,
        signal=end.signal,
        failure_class=failure_class,
        reason=reason,
        peak_memory_bytes=end.peak_memory_bytes,
        ended_at=end.ended_at,
    )
