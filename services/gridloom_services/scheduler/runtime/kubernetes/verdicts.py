"""What Kubernetes says of a pod that is not well, and which class of failure that is.

Foreign words are mapped here and nowhere else.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from gridloom.values import dataclass

from gridloom_services.scheduler.runtime.base import EXIT_NOT_STARTED
from gridloom_services.scheduler.states import FailureClass

if TYPE_CHECKING:
    from collections.abc import Mapping

Pod = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How something ended that the pod itself cannot tell of (any more). Times: our own clock."""

    failure_class: FailureClass
    reason: str
    exit_code: int | None = None
    ended_at: float = 0.0

    def to_record(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "class": self.failure_class.name,
            "reason": self.reason,
            "exit_code": self.exit_code,
            "ended_at": self.ended_at,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Verdict:
        """Read back what `to_record` gave."""
        return cls(
            FailureClass[record["class"]],
            record["reason"],
            record["exit_code"],
            record["ended_at"],
        )


def verdict(failure_class: FailureClass, reason: str, exit_code: int | None = None) -> Verdict:
    """Return a verdict of now."""
    return Verdict(failure_class, reason, exit_code, time.time())


# Why the kubelet (or somebody in its place) ended a whole pod: `status.reason`.
POD_REASONS: dict[str, FailureClass] = {
    # It used more local disk than it may, or the node ran short of memory or disk.
    "Evicted": FailureClass.EVICTED,
    # Its activeDeadlineSeconds: our backstop behind the sidecar's time limit.
    "DeadlineExceeded": FailureClass.TIME_LIMIT,
    # The node controller's word for a node that is silent, in older releases.
    "NodeLost": FailureClass.NODE_LOST,
    # The node was shut down in an orderly way, or is about to be.
    "Terminated": FailureClass.NODE_LOST,
    "Shutdown": FailureClass.NODE_LOST,
    "NodeShutdown": FailureClass.NODE_LOST,
    # A pod of a higher priority needed its place on the node (a static one, say).
    "Preempting": FailureClass.PREEMPTED,
    # The kubelet refused it: what the cluster's scheduler had seen was not so any more.
    "OutOfcpu": FailureClass.UNSCHEDULABLE,
    "OutOfmemory": FailureClass.UNSCHEDULABLE,
    "OutOfpods": FailureClass.UNSCHEDULABLE,
    "OutOfephemeral-storage": FailureClass.UNSCHEDULABLE,
    "NodeAffinity": FailureClass.UNSCHEDULABLE,
    "NodeSelectorMismatching": FailureClass.UNSCHEDULABLE,
    "NodePorts": FailureClass.UNSCHEDULABLE,
    "TaintToleration": FailureClass.UNSCHEDULABLE,
    # A device that was promised is not there: the node is broken for this pod.
    "UnexpectedAdmissionError": FailureClass.UNSCHEDULABLE,
}
_OUT_OF = "OutOf"

# Why somebody disturbs a pod that did nothing wrong: the condition DisruptionTarget.
DISRUPTIONS: dict[str, FailureClass] = {
    "PreemptionByScheduler": FailureClass.PREEMPTED,
    # Its node has a taint that it does not tolerate (any longer): silent, or being emptied.
    "DeletionByTaintManager": FailureClass.NODE_LOST,
    # Its node exists no more.
    "DeletionByPodGC": FailureClass.NODE_LOST,
    # `kubectl drain`, an autoscaler.
    "EvictionByEvictionAPI": FailureClass.EVICTED,
    # The node is short of something, or being shut down.
    "TerminationByKubelet": FailureClass.EVICTED,
}

# Why the command's container ended: its state's `terminated.reason`.
CONTAINER_REASONS: dict[str, FailureClass] = {
    "OOMKilled": FailureClass.OUT_OF_MEMORY,
    # The kubelet came back and did not find it: it was lost with what ran there.
    "ContainerStatusUnknown": FailureClass.NODE_LOST,
    # Nothing could be started: no such file in the image, no such folder.
    "ContainerCannotRun": FailureClass.APPLICATION_ERROR,
    "StartError": FailureClass.APPLICATION_ERROR,
    "DeadlineExceeded": FailureClass.TIME_LIMIT,
}

# Why a container does not begin: its state's `waiting.reason`. At once: time will not mend it.
HOPELESS: dict[str, FailureClass] = {
    "InvalidImageName": FailureClass.IMAGE_NOT_FOUND,
    "ErrImageNeverPull": FailureClass.IMAGE_NOT_FOUND,
    "ImageInspectError": FailureClass.IMAGE_NOT_FOUND,
    "SignatureValidationFailed": FailureClass.IMAGE_NOT_FOUND,
    "CreateContainerError": FailureClass.APPLICATION_ERROR,
    "RunContainerError": FailureClass.APPLICATION_ERROR,
}
# The same after some patience: a registry may be away for a moment, a secret may come.
DOUBTFUL: dict[str, FailureClass] = {
    "ErrImagePull": FailureClass.IMAGE_NOT_FOUND,
    "ImagePullBackOff": FailureClass.IMAGE_NOT_FOUND,
    "RegistryUnavailable": FailureClass.IMAGE_NOT_FOUND,
    "CreateContainerConfigError": FailureClass.APPLICATION_ERROR,
    # Staging or the sidecar fails again and again.
    "CrashLoopBackOff": FailureClass.NODE_LOST,
}

# Why the cluster's scheduler leaves a pod where it is: the condition PodScheduled.
UNPLACED: dict[str, FailureClass] = {
    "Unschedulable": FailureClass.UNSCHEDULABLE,
    "SchedulerError": FailureClass.UNSCHEDULABLE,
}


def condition(pod: Pod, kind: str) -> Mapping[str, Any]:
    """Return a condition of a pod; empty where it has none of the kind."""
    conditions = pod.get("status", {}).get("conditions", [])
    return next((each for each in conditions if each["type"] == kind), {})


def pod_failure(pod: Pod) -> tuple[FailureClass, str] | None:
    """Return what befell a pod as a whole; None: nothing did."""
    status = pod.get("status", {})
    reason, message = status.get("reason", ""), status.get("message", "")
    if reason in POD_REASONS or reason.startswith(_OUT_OF):
        failure = POD_REASONS.get(reason, FailureClass.UNSCHEDULABLE)
        return failure, told(reason, message)
    target = condition(pod, "DisruptionTarget")
    if target.get("status") == "True" and target.get("reason") in DISRUPTIONS:
        return DISRUPTIONS[target["reason"]], told(target["reason"], target.get("message", ""))
    return None


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a pod does not get on. `patience`: "image", "room", or none."""

    verdict: Verdict
    patience: str = ""


def trouble_of(pod: Pod) -> Trouble | None:
    """Return why a pod that should begin does not; None: it is under way."""
    placed = condition(pod, "PodScheduled")
    if placed.get("status") == "False" and placed.get("reason") in UNPLACED:
        reason = told("it finds no room on its node", placed.get("message", ""))
        return Trouble(verdict(UNPLACED[placed["reason"]], reason), "room")
    status = pod.get("status", {})
    containers = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    for each in containers:
        waiting = each.get("state", {}).get("waiting")
        if waiting and (found := _waiting(waiting, each)) is not None:
            return found
    return None


def _waiting(waiting: Mapping[str, str], container: Mapping[str, Any]) -> Trouble | None:
    reason = waiting.get("reason", "")
    if reason not in HOPELESS and reason not in DOUBTFUL:
        return None
    failure = HOPELESS.get(reason) or DOUBTFUL[reason]
    what = f"image {container.get('image', '')}" if failure is FailureClass.IMAGE_NOT_FOUND else ""
    text = told(" ".join(filter(None, [what, reason])), waiting.get("message", ""))
    code = EXIT_NOT_STARTED if failure is FailureClass.APPLICATION_ERROR else None
    return Trouble(verdict(failure, text, code), "image" if reason in DOUBTFUL else "")


def told(reason: str, message: str) -> str:
    """Return reason and message as one line."""
    message = " ".join(message.split()).rstrip(".")
    return f"{reason}: {message}" if message and message != reason else reason
