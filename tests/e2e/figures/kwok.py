"""Nodes that only seem to be: kwok answers for them, from beside the cluster."""

from __future__ import annotations

import contextlib
import json
import subprocess
from typing import TYPE_CHECKING, Any

from tests.e2e.machine.places import run_folder
from tests.e2e.node_image.go_programs import built

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.cluster.cluster import Cluster

# What only these nodes have, so that only who asks for it goes there.
SEAT = "gridloom.test/seat"
_ANNOTATION = "kwok.x-k8s.io/node"
_LABEL = {"gridloom.test/pool": "seeming"}
_PODS = 110
FLAVOUR = json.dumps(
    {"nodeSelector": _LABEL, "tolerations": [{"key": _ANNOTATION, "operator": "Exists"}]}
)


@contextlib.contextmanager
def seeming_nodes(cluster: Cluster, count: int) -> Iterator[None]:
    """So many nodes; gone with all that ran on them."""
    nodes = {"apiVersion": "v1", "kind": "List", "items": [_node(i) for i in range(count)]}
    words = ["--kubeconfig", str(cluster.kubeconfig), "--manage-nodes-with-annotation-selector"]
    log = (run_folder() / "kwok.log").open("wb")
    kwok = subprocess.Popen(
        [built("kwok").path("kwok"), *words, f"{_ANNOTATION}=fake"], stdout=log, stderr=log
    )
    try:
        cluster.kubectl("apply", "-f", "-", text=json.dumps(nodes))
        cluster.kubectl(
            *("wait", "--for=condition=Ready", "--timeout=60s"),
            *("node", "-l", "gridloom.test/pool=seeming"),
        )
        yield
    finally:
        cluster.kubectl("delete", "node", "-l", "gridloom.test/pool=seeming", "--wait=false")
        kwok.terminate()
        kwok.wait()
        log.close()


def _node(index: int) -> dict[str, Any]:
    name = f"seeming-{index:02}"
    amounts = {"cpu": "128", "memory": "512Gi", "pods": str(_PODS), SEAT: str(_PODS)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {_ANNOTATION: "fake"},
            "labels": {**_LABEL, "kubernetes.io/hostname": name, "kubernetes.io/os": "linux"},
        },
        "spec": {"taints": [{"key": _ANNOTATION, "value": "fake", "effect": "NoSchedule"}]},
        "status": {"capacity": amounts, "allocatable": amounts},
    }
