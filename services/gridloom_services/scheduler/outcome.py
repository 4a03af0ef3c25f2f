"""What the reports of a gang's replicas mean for the gang: pure functions of what is known.

The policy: a gang succeeds when all its replicas have exited with 0. When one fails, the rest are
stopped, and the first failure decides class and exit code. A replica of an elastic role that ends
leaves the gang, as long as its role keeps `min_replicas`, or when it ended well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from gridloom_services.scheduler.job import (
    GangOutput,
    LiveGang,
    Member,
    Outcome,
    ReplicaEnd,
    Usage,
)
from gridloom_services.scheduler.runtime.base import Assignment, Phase, ReplicaStatus
from gridloom_services.scheduler.states import FailureClass, JobState

if TYPE_CHECKING:
    from gridloom_services.scheduler.spec import Role

Statuses = Mapping[Member, ReplicaStatus]

UNKNOWN_EXIT = -1


def has_ended(statuses: Statuses, member: Member) -> bool:
    """Say whether a replica has ended."""
    status = statuses.get(member)
    return status is not None and status.phase is Phase.ENDED


def departures(
    live: LiveGang, statuses: Statuses, roles: tuple[Role, ...]
) -> tuple[Assignment, ...]:
    """Return the placed replicas that have left without harm, while others of the gang go on."""
    if is_over(live, statuses):
        return ()
    elastic = {role.name: role for role in roles if role.elastic}
    return tuple(
        each
        for each in live.placement
        if each.role in elastic
        and has_ended(statuses, (each.role, each.index))
        and not _is_decisive(each, live, statuses, elastic[each.role])
    )


def first_failure(live: LiveGang, statuses: Statuses, roles: tuple[Role, ...]) -> Outcome | None:
    """Return what the first failure that counts makes of the gang; None: there is none."""
    by_name = {role.name: role for role in roles}
    decisive = [
        statuses[each.role, each.index]
        for each in live.placement
        if has_ended(statuses, (each.role, each.index))
        and _is_decisive(each, live, statuses, by_name[each.role])
    ]
    if not decisive:
        return None
    return _outcome(min(decisive, key=lambda status: (_ended_at(status), status.index)))


def _is_decisive(each: Assignment, live: LiveGang, statuses: Statuses, role: Role) -> bool:
    """Say whether an ended replica's failure is the gang's.

    It depends on who was alive at that moment only, not on the order in which ends are reported.
    """
    status = statuses[each.role, each.index]
    if status.succeeded or (each.role, each.index) in live.leaving:
        return False
    if not role.elastic:
        return True
    alive = sum(
        other != each and _outlived(statuses.get((other.role, other.index)), status)
        for other in live.staying(role.name)
    )
    return alive < role.min_replicas


def _outlived(other: ReplicaStatus | None, status: ReplicaStatus) -> bool:
    if other is None or other.phase is not Phase.ENDED:
        return True
    return (_ended_at(other), other.index) > (_ended_at(status), status.index)


def _ended_at(status: ReplicaStatus) -> float:
    return status.ended_at or 0.0


def _outcome(status: ReplicaStatus) -> Outcome:
    failure = status.failure_class
    return Outcome(
        state=JobState.CANCELLED if failure is FailureClass.CANCELLED else JobState.FAILED,
        failure_class=failure,
        exit_code=exit_code_of(status),
        signal=status.signal,
        reason=_reason(status, failure),
    )


def _reason(status: ReplicaStatus, failure: FailureClass) -> str:
    what = status.reason or failure.label
    return f"{status.role}.{status.index} on {status.node}: {what}"


def exit_code_of(status: ReplicaStatus) -> int:
    """Return a replica's exit code; UNKNOWN_EXIT where nobody could learn it."""
    return UNKNOWN_EXIT if status.exit_code is None else status.exit_code


def is_over(live: LiveGang, statuses: Statuses) -> bool:
    """Say whether every placed replica has ended."""
    return all(has_ended(statuses, (each.role, each.index)) for each in live.placement)


def is_running(live: LiveGang, statuses: Statuses) -> bool:
    """Say whether every placed replica has begun."""
    for each in live.placement:
        status = statuses.get((each.role, each.index))
        if status is None or status.phase is Phase.STARTING:
            return False
    return True


def final_outcome(live: LiveGang, statuses: Statuses, roles: tuple[Role, ...]) -> Outcome:
    """Return how a gang ended that is over.

    An order to stop decides, unless every replica had ended well before it was reached.
    """
    failure = first_failure(live, statuses, roles)
    if live.stop is None:
        return failure or Outcome()
    if failure is None:
        return Outcome()
    ordered = live.stop.outcome
    if ordered.exit_code or ordered.signal or failure is None:
        return ordered
    return Outcome(
        ordered.state, ordered.failure_class, failure.exit_code, failure.signal, ordered.reason
    )


def usage_of(statuses: Iterable[ReplicaStatus]) -> Usage:
    """Return what the replicas used together."""
    return sum(
        (Usage(each.cpu_seconds, each.peak_memory_bytes) for each in statuses), start=Usage()
    )


def replica_end(status: ReplicaStatus) -> ReplicaEnd:
    """Return the record of one replica."""
    failure = status.failure_class
    state = JobState.FAILED if failure else JobState.SUCCEEDED
    if failure is FailureClass.CANCELLED:
        state = JobState.CANCELLED
    return ReplicaEnd(
        role=status.role,
        index=status.index,
        state=state,
        node=status.node,
        exit_code=exit_code_of(status),
        log_index=status.log_index,
        signal=status.signal,
        failure_class=failure,
        reason=status.reason,
        usage=usage_of([status]),
    )


def outputs_of(statuses: Iterable[ReplicaStatus]) -> tuple[GangOutput, ...]:
    """Return the files that the replicas brought back."""
    return tuple(
        GangOutput(status.role, status.index, file)
        for status in statuses
        for file in status.outputs
    )
