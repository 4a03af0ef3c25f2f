"""What nodes have for jobs: what they offer, without what others' pods have claimed. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gridloom_services.scheduler.runtime.base import NodeCapacity
from gridloom_services.scheduler.runtime.kubernetes import names
from gridloom_services.scheduler.runtime.kubernetes.flavours import CONDITIONS, Flavour, flavour_of
from gridloom_services.scheduler.runtime.kubernetes.quantities import claimed, offered

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gridloom_services.scheduler.runtime.kubernetes.verdicts import Pod

Node = dict[str, Any]
Claims = Mapping[str, int]

FLAVOUR = "flavour"
# Not something that jobs ask for by name.
_UNASKED = ("pods", "hugepages-", "attachable-volumes-")
_OVER = {"Succeeded", "Failed"}
_OF_THE_NODE = {"DaemonSet", "Node"}


def is_ready(node: Node) -> bool:
    """Say whether a node's kubelet is there."""
    conditions = node.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def takes_pods(node: Node) -> bool:
    """Say whether new pods may go to a node: it is well, not cordoned, not on its way out."""
    spec = node.get("spec", {})
    is_ill = any(taint["key"].startswith(CONDITIONS) for taint in spec.get("taints", []))
    is_closed = is_ill or spec.get("unschedulable", False)
    return is_ready(node) and not is_closed and "deletionTimestamp" not in node["metadata"]


def is_foreign(pod: Pod, namespace: str) -> bool:
    """Say whether a pod is no job's of this runtime."""
    metadata = pod["metadata"]
    labels = metadata.get("labels", {})
    is_ours = all(labels.get(key) == value for key, value in names.OURS.items())
    return not (is_ours and metadata.get("namespace") == namespace)


def lasts(pod: Pod) -> bool:
    """Say whether a pod belongs to its node and stays: a daemon's, or one of the kubelet's own."""
    owners = pod["metadata"].get("ownerReferences", [])
    return any(owner["kind"] in _OF_THE_NODE for owner in owners)


def node_of(pod: Pod) -> str | None:
    """Return the node where a pod claims something; None: it claims nothing (any more)."""
    if pod.get("status", {}).get("phase") in _OVER:
        return None
    node: str | None = pod.get("spec", {}).get("nodeName")
    return node


def pod_claims(pod: Pod) -> Claims:
    """Return what a pod keeps from others, as the cluster's scheduler counts it.

    The containers together and the sidecars among the init containers; or, where that is more, the
    largest of the init containers with the sidecars before it. And the overhead.
    """
    spec = pod["spec"]
    sidecars: Counter[str] = Counter()
    largest: Counter[str] = Counter()
    for container in spec.get("initContainers", []):
        asked = _requests(container)
        if container.get("restartPolicy") == "Always":
            sidecars += asked
            largest |= sidecars
        else:
            largest |= sidecars + asked
    together = sidecars.copy()
    for container in spec.get("containers", []):
        together += _requests(container)
    whole = _requests(spec)  # of the pod as such, where that is given
    return (together | largest | whole) + _amounts(spec.get("overhead", {}))


def _requests(container: Mapping[str, Any]) -> Counter[str]:
    resources = container.get("resources", {})
    return _amounts({**resources.get("limits", {}), **resources.get("requests", {})})


def _amounts(quantities: Mapping[str, str]) -> Counter[str]:
    return Counter({name: claimed(name, each) for name, each in quantities.items()})


def node_capacity(
    node: Node,
    others: Iterable[Claims],
    flavours: tuple[Flavour, ...],
    lasting: Iterable[Claims] = (),
) -> NodeCapacity | None:
    """Return what a node has for jobs; None: it is not for them.

    `others` have claimed something there; those of them that are `lasting` will not leave.
    """
    flavour = flavour_of(node, flavours)
    if flavour is None:
        return None
    capacity, at_best = _left(node, others), _left(node, lasting)
    labels = dict(node["metadata"].get("labels", {}))
    if flavour.name:
        labels[FLAVOUR] = flavour.name
    return NodeCapacity(
        node["metadata"]["name"],
        capacity,
        labels,
        schedulable=takes_pods(node),
        at_best=None if at_best == capacity else at_best,
    )


def _left(node: Node, claims: Iterable[Claims]) -> dict[str, int]:
    taken: Counter[str] = Counter()
    for each in claims:
        taken.update(each)
    return {
        name: max(0, offered(name, each) - taken[name])
        for name, each in sorted(node["status"].get("allocatable", {}).items())
        if not name.startswith(_UNASKED)
    }
