"""Two pools of nodes: plain ones, and one that says it has GPUs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.eventually import eventually_now

if TYPE_CHECKING:
    from tests.e2e.cluster.cluster import Cluster

LABEL = "gridloom.test/pool"
GPU = "nvidia.com/gpu"
GPUS = 4


def label(cluster: Cluster) -> None:
    """The first worker is the CPU pool; the second advertises GPUs and keeps others out."""
    cpu, gpu = cluster.workers()[:2]
    cluster.kubectl("label", "node", cpu, f"{LABEL}=cpu", "--overwrite")
    cluster.kubectl("label", "node", gpu, f"{LABEL}=gpu", "--overwrite")
    cluster.kubectl("taint", "node", gpu, f"{GPU}=present:NoSchedule", "--overwrite")
    advertise(cluster, gpu)


def advertise(cluster: Cluster, node: str) -> None:
    """Have the node's status say that it has GPUs.

    Both capacity and allocatable: the kubelet copies the first to the second only with its next
    report, seconds later.
    """
    key = GPU.replace("/", "~1")
    changes = [
        {"op": "add", "path": f"/status/{part}/{key}", "value": str(GPUS)}
        for part in ("capacity", "allocatable")
    ]
    words = ("--subresource=status", "--type=json", "-p", json.dumps(changes))
    cluster.kubectl("patch", "node", node, *words)

    def offered() -> bool:
        status = json.loads(cluster.kubectl("get", "node", node, "-o", "json"))["status"]
        return bool(str(GPUS) == status["allocatable"].get(GPU))

    eventually_now(offered)
