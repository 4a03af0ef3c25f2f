"""What a unit's pod, and what is written down about it, say of its replicas. Pure."""

from __future__ import annotations

from dataclasses import field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gridloom.values import dataclass

from gridloom_services.scheduler.runtime.base import Phase, ReplicaStatus
from gridloom_services.scheduler.runtime.kubernetes.containers import COMMAND, SIDECAR, STAGING
from gridloom_services.scheduler.runtime.kubernetes.endings import (
    Ending,
    ReplicaReport,
    read_ending,
)
from gridloom_services.scheduler.runtime.kubernetes.verdicts import (
    CONTAINER_REASONS,
    Pod,
    Verdict,
    pod_failure,
    told,
    verdict,
)
from gridloom_services.scheduler.states import FailureClass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gridloom_services.scheduler.runtime.base import OutputFile
    from gridloom_services.scheduler.runtime.units import Unit

_SIGNAL_BASE = 128
_LAST_SIGNAL = 64
_OVER = {"Succeeded", "Failed"}


@dataclass(frozen=True, slots=True)
class UnitFacts:
    """All that is known of a unit.

    `pod` is the newest that was seen, `is_gone` that it exists no more. `made`: there was one once.
    `verdict` stands above whatever a pod says. `stop`: why it was asked to end, if it was. `ended`:
    what replicas of a shared process have said of themselves. `outputs`: those that the ending only
    refers to.
    """

    gang: str
    unit: Unit
    pod: Pod | None = None
    is_gone: bool = False
    made: bool = False
    verdict: Verdict | None = None
    stop: str | None = None
    ended: Mapping[int, ReplicaReport] = field(default_factory=dict)
    outputs: tuple[OutputFile, ...] | None = None
    wants_outputs: bool = False


def container_state(pod: Pod, name: str, kind: str) -> Mapping[str, Any] | None:
    """Return the state of a container, if it is of this kind: waiting, running, terminated."""
    status = pod.get("status", {})
    containers = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    for each in containers:
        if each["name"] == name:
            found: Mapping[str, Any] | None = each.get("state", {}).get(kind)
            return found
    return None


def pod_is_over(pod: Pod) -> bool:
    """Say whether nothing of a pod runs, or ever will."""
    is_over = pod.get("status", {}).get("phase") in _OVER
    return is_over and container_state(pod, SIDECAR, "running") is None


def ending_of(pod: Pod) -> Ending | None:
    """Return what the pod's sidecar left behind."""
    terminated = container_state(pod, SIDECAR, "terminated") or {}
    return read_ending(terminated.get("message", ""))


def is_over(facts: UnitFacts) -> bool:
    """Say whether the unit has ended."""
    if facts.verdict is not None or (facts.pod is not None and pod_is_over(facts.pod)):
        return True
    return facts.is_gone or (facts.pod is None and (facts.made or facts.stop is not None))


def statuses(facts: UnitFacts) -> Iterator[ReplicaStatus]:
    """Return the statuses of all replicas of the unit."""
    return _final(facts) if is_over(facts) else _live(facts)


# ---- while it lives


def _live(facts: UnitFacts) -> Iterator[ReplicaStatus]:
    """Where all replicas of a shared process have been reported, the last lives until it ends."""
    bearer = _bearer(facts.unit, facts.ended)
    for index in facts.unit.known:
        status = _begun(facts, index)
        if index in facts.ended and index != bearer:
            status = _reported(status, facts.ended[index])
        yield status


def _begun(facts: UnitFacts, index: int) -> ReplicaStatus:
    unit = facts.unit
    status = ReplicaStatus(facts.gang, unit.role, index, Phase.STARTING, unit.node, unit.log_index)
    pod = facts.pod or {}
    state = container_state(pod, COMMAND, "running") or container_state(pod, COMMAND, "terminated")
    if state is None or not state.get("startedAt"):
        return status
    return replace(status, phase=Phase.RUNNING, started_at=seconds(state["startedAt"]))


def _bearer(unit: Unit, ended: Mapping[int, ReplicaReport]) -> int:
    """Return who bears the costs: the lowest that ends with the process, else the last to end."""
    remaining = [index for index in unit.known if index not in ended]
    if remaining:
        return min(remaining)
    return max(unit.known, key=lambda index: (ended[index].ended_at, index))


def _reported(status: ReplicaStatus, report: ReplicaReport) -> ReplicaStatus:
    return replace(
        status,
        phase=Phase.ENDED,
        exit_code=report.exit_code,
        signal=report.signal,
        failure_class=report.failure_class,
        reason=f"exit code {report.exit_code}" if report.exit_code else "",
        ended_at=report.ended_at,
    )


# ---- once it is over


def _final(facts: UnitFacts) -> Iterator[ReplicaStatus]:
    ending = (ending_of(facts.pod) if facts.pod else None) or Ending()
    ended = {**facts.ended, **ending.ended}
    judged = _judgement(facts, ending)
    bearer = _bearer(facts.unit, ended)
    for index in facts.unit.known:
        status = replace(_begun(facts, index), phase=Phase.ENDED)
        status = _reported(status, ended[index]) if index in ended else _judged(status, judged)
        if index == bearer:
            outputs = ending.outputs if facts.outputs is None else facts.outputs
            status = replace(
                status,
                cpu_seconds=ending.cpu_seconds,
                peak_memory_bytes=ending.peak_memory_bytes,
                outputs=outputs,
            )
        yield status


def _judged(status: ReplicaStatus, judged: Verdict) -> ReplicaStatus:
    code = judged.exit_code
    is_signal = code is not None and _SIGNAL_BASE < code <= _SIGNAL_BASE + _LAST_SIGNAL
    return replace(
        status,
        exit_code=code,
        signal=code - _SIGNAL_BASE if code is not None and is_signal else 0,
        failure_class=judged.failure_class,
        reason=judged.reason,
        ended_at=judged.ended_at,
    )


def _judgement(facts: UnitFacts, ending: Ending) -> Verdict:
    """Return how the command ended, the surest witness first."""
    if facts.verdict is not None:
        return facts.verdict
    pod = facts.pod
    if pod is None or not pod_is_over(pod):
        return _vanished(facts)
    state = container_state(pod, COMMAND, "terminated")
    code, at = (None, _pod_end(pod)) if state is None else _exit(state, pod)
    if ending.failure_class:
        return Verdict(ending.failure_class, ending.reason, code, at)
    found = _blamed(facts, pod, state)
    if found is not None and code != 0:
        failure, reason = found
        return Verdict(failure, reason, _known_code(failure, code), at)
    if code:
        return Verdict(FailureClass.APPLICATION_ERROR, f"exit code {code}", code, at)
    return Verdict(*_stored(facts, ending, pod), code, at)


def _vanished(facts: UnitFacts) -> Verdict:
    """Return what became of a unit whose pod went without a word of how the command ended."""
    if facts.stop is not None:
        return verdict(FailureClass.CANCELLED, facts.stop)
    found = pod_failure(facts.pod) if facts.pod else None
    if found is not None:
        return verdict(*found)
    seldom = "" if facts.pod else ", or its start was cut short"
    return verdict(FailureClass.NODE_LOST, f"its pod was deleted{seldom}")


def _blamed(
    facts: UnitFacts, pod: Pod, state: Mapping[str, Any] | None
) -> tuple[FailureClass, str] | None:
    """Return what ended the command other than itself."""
    if (found := pod_failure(pod)) is not None:
        return found
    if state is not None and state.get("reason") in CONTAINER_REASONS:
        failure = CONTAINER_REASONS[state["reason"]]
        return failure, _container_reason(failure, state)
    if pod["metadata"].get("deletionTimestamp"):
        if facts.stop is not None:
            return FailureClass.CANCELLED, facts.stop
        return FailureClass.EVICTED, "its pod was deleted"
    return None if state is not None else _never_began(facts, pod)


def _container_reason(failure: FailureClass, state: Mapping[str, Any]) -> str:
    if failure is FailureClass.OUT_OF_MEMORY:
        return "it used more memory than it asked for"
    return told(state["reason"], state.get("message", ""))


def _never_began(facts: UnitFacts, pod: Pod) -> tuple[FailureClass, str]:
    """Return why the command's container was never started."""
    staging = container_state(pod, STAGING, "terminated") or {}
    failed = read_ending(staging.get("message", ""))
    if failed is not None:
        return failed.failure_class, failed.reason
    if staging.get("exitCode"):
        return FailureClass.NODE_LOST, told("its files could not be brought", staging["reason"])
    if facts.stop is not None:
        return FailureClass.CANCELLED, facts.stop
    return FailureClass.NODE_LOST, told("its pod never began", pod["status"].get("message", ""))


def _known_code(failure: FailureClass, code: int | None) -> int | None:
    if failure is FailureClass.NODE_LOST:
        return None
    # Nothing was started, for a reason that is in the job itself.
    return 125 if failure is FailureClass.APPLICATION_ERROR and code is None else code


def _stored(facts: UnitFacts, ending: Ending, pod: Pod) -> tuple[FailureClass, str]:
    """Return what it means for a good end that outputs could not be stored.

    The work is done and its fruit is lost: the platform's fault, so it may be done again.
    """
    if ending.trouble:
        return FailureClass.NODE_LOST, ending.trouble
    if facts.wants_outputs and ending_of(pod) is None:
        return FailureClass.NODE_LOST, "its outputs were not stored: its sidecar left no word"
    return FailureClass.NONE, ""


def _exit(state: Mapping[str, Any], pod: Pod) -> tuple[int, float]:
    finished = state.get("finishedAt")
    return int(state["exitCode"]), seconds(finished) if finished else _pod_end(pod)


def _pod_end(pod: Pod) -> float:
    """Return when a pod ended that does not say so: when its last condition changed."""
    status = pod.get("status", {})
    times = [each.get("lastTransitionTime") for each in status.get("conditions", [])]
    known = [seconds(each) for each in (*times, status.get("startTime")) if each]
    return max(known, default=0.0)


def seconds(stamp: str) -> float:
    """Return a time of Kubernetes as seconds since the epoch."""
    return datetime.fromisoformat(stamp).timestamp()
