"""The cluster's nodes as jobs see them, kept by watches on nodes and on everybody's pods."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from gridloom_services.scheduler.runtime.kubernetes import names
from gridloom_services.scheduler.runtime.kubernetes.capacity import (
    is_foreign,
    is_ready,
    lasts,
    node_capacity,
    node_of,
    pod_claims,
)
from gridloom_services.scheduler.runtime.kubernetes.flavours import ANY, Flavour, flavour_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom_services.scheduler.runtime.base import NodeCapacity
    from gridloom_services.scheduler.runtime.kubernetes.capacity import Claims, Node

Object = dict[str, Any]


class ClusterNodes:
    """What there is, without what others have claimed of it.

    `lost_after_s`: a node whose kubelet has not answered for so long, by this process's own clock,
    is lost. `changed` is set whenever anything is new.
    """

    def __init__(
        self,
        namespace: str,
        flavours: tuple[Flavour, ...],
        lost_after_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._namespace = namespace
        self._flavours = flavours
        self._lost_after_s = lost_after_s
        self._clock = clock
        self._nodes: dict[str, Node] = {}
        self._silent_since: dict[str, float] = {}
        # By node and pod.
        self._claims: dict[str, dict[str, Claims]] = {}
        self._places: dict[str, str] = {}
        self._lasting: set[str] = set()
        self.changed = asyncio.Event()

    # ---- for informers

    def saw_node(self, node: Node) -> None:
        """Take over a node."""
        name = node["metadata"]["name"]
        if is_ready(node):
            self._silent_since.pop(name, None)
        else:
            self._silent_since.setdefault(name, self._clock())
        before = self._nodes.get(name)
        self._nodes[name] = node
        if before is None or _said(before) != _said(node):
            self.changed.set()

    def lost_node(self, node: Node) -> None:
        """Let go of a node that exists no more."""
        name = node["metadata"]["name"]
        self._nodes.pop(name, None)
        self._silent_since.pop(name, None)
        self.changed.set()

    def saw_pod(self, pod: Object) -> None:
        """Take over what a pod claims."""
        uid = pod["metadata"]["uid"]
        place = pod["node"]
        if self._places.get(uid) == place:
            return
        self.lost_pod(pod)
        if place is not None:
            self._places[uid] = place
            self._claims.setdefault(place, {})[uid] = pod["claims"]
            if pod["lasts"]:
                self._lasting.add(uid)
            self.changed.set()

    def lost_pod(self, pod: Object) -> None:
        """Let go of what a pod has claimed."""
        uid = pod["metadata"]["uid"]
        place = self._places.pop(uid, None)
        if place is not None:
            del self._claims[place][uid]
            self._lasting.discard(uid)
            self.changed.set()

    def keep_pod(self, pod: Object) -> Object:
        """Return what is of interest in a pod; nothing is in ours: the engine counts them."""
        place = node_of(pod) if is_foreign(pod, self._namespace) else None
        return {
            "metadata": _identity(pod),
            "node": place,
            "claims": None if place is None else pod_claims(pod),
            "lasts": lasts(pod),
        }

    # ---- for the runtime

    def __contains__(self, name: str) -> bool:
        """Say whether there is a node of that name, whatever its state."""
        return name in self._nodes

    @property
    def names(self) -> frozenset[str]:
        """Return every node's name."""
        return frozenset(self._nodes)

    def capacity(self) -> tuple[NodeCapacity, ...]:
        """Return what is there for jobs now, in the order of names."""
        found = (self._capacity(name, node) for name, node in sorted(self._nodes.items()))
        return tuple(each for each in found if each is not None)

    def _capacity(self, name: str, node: Node) -> NodeCapacity | None:
        others = self._claims.get(name, {})
        lasting = [claims for uid, claims in others.items() if uid in self._lasting]
        return node_capacity(node, others.values(), self._flavours, lasting)

    def flavour(self, name: str) -> Flavour:
        """Return the flavour of a node."""
        node = self._nodes.get(name)
        return (node and flavour_of(node, self._flavours)) or ANY

    def lost_in_s(self, name: str) -> float | None:
        """Return in how many seconds a node is lost: 0 if it is; None: not, as things stand."""
        if name not in self._nodes:
            return 0.0
        since = self._silent_since.get(name)
        if since is None:
            return None
        return max(0.0, since + self._lost_after_s - self._clock())


def _said(node: Node) -> Object:
    """Return a node without its version: that changes with every sign of life."""
    metadata = {key: each for key, each in node["metadata"].items() if key != "resourceVersion"}
    return {**node, "metadata": metadata}


def keep_node(node: Object) -> Object:
    """Return what is of interest in a node."""
    metadata, status = node["metadata"], node.get("status", {})
    kept = {key: metadata[key] for key in ("labels", "deletionTimestamp") if key in metadata}
    spec = {key: node["spec"][key] for key in ("taints", "unschedulable") if key in node["spec"]}
    conditions = [
        {"type": each["type"], "status": each["status"]}
        for each in status.get("conditions", [])
        if each["type"] == "Ready"
    ]
    return {
        "metadata": {**_identity(node), **kept},
        "spec": spec,
        "status": {"allocatable": status.get("allocatable", {}), "conditions": conditions},
    }


def keep_job_pod(pod: Object) -> Object:
    """Return what is of interest in a pod of a gang: not what it was made of."""
    metadata = pod["metadata"]
    annotations = metadata.get("annotations", {})
    ours = {key: each for key, each in annotations.items() if key.startswith("gridloom.io/")}
    kept = {key: metadata[key] for key in ("deletionTimestamp",) if key in metadata}
    return {
        "metadata": {**_identity(pod), **kept, "annotations": ours},
        "status": pod.get("status", {}),
    }


def _identity(item: Object) -> Object:
    return {key: item["metadata"][key] for key in ("name", "uid", "resourceVersion")}


def unit_of(pod: Object) -> tuple[str, str]:
    """Return whose a pod is: its gang and its unit."""
    annotations = pod["metadata"]["annotations"]
    return annotations.get(names.GANG, ""), annotations.get(names.UNIT, "")
