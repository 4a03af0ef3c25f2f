"""Nodes that only seem to be: kwok answers for them, from beside the cluster."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.e2e.machine.places import E2E, run_folder
from tests.e2e.machine.run import run
from tests.e2e.node_image.go_programs import built

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.cluster.cluster import Cluster

# What only these nodes have, so that only who asks for it goes there.
SEAT = "gridloom.test/seat"
_ANNOTATION = "kwok.x-k8s.io/node"
_LABEL = {"gridloom.test/pool": "seeming"}
_PODS = 110
NODES = tuple(f"seeming-{index:02}" for index in range(20))
_STAGES = ("node/fast/node-initialize.yaml", "pod/fast/pod-ready.yaml", "pod/fast/pod-delete.yaml")
FLAVOUR = json.dumps(
    {"nodeSelector": _LABEL, "tolerations": [{"key": _ANNOTATION, "operator": "Exists"}]}
)


@contextlib.contextmanager
def seeming_nodes(cluster: Cluster) -> Iterator[None]:
    """`NODES`; gone with all that ran on them."""
    nodes = {"apiVersion": "v1", "kind": "List", "items": [_node(name) for name in NODES]}
    words = [
        *(word for file in _stages() for word in ("--config", file)),
        *("--kubeconfig", str(cluster.kubeconfig)),
        *("--manage-nodes-with-annotation-selector", f"{_ANNOTATION}=fake"),
    ]
    log = (run_folder() / "kwok.log").open("wb")
    kwok = subprocess.Popen([built("kwok").path("kwok"), *words], stdout=log, stderr=log)
    try:
        cluster.kubectl("apply", "-f", "-", text=json.dumps(nodes))
        cluster.kubectl(
            *("wait", "--for=condition=Ready", "--timeout=60s"),
            *("node", "-l", "gridloom.test/pool=seeming"),
        )
        yield
    finally:
        try:
            cluster.kubectl("delete", "node", "-l", "gridloom.test/pool=seeming", "--wait=false")
        finally:
            kwok.terminate()
            kwok.wait()
            log.close()


def _stages() -> list[str]:
    """What becomes of nodes and pods, as kwok's own module has it: all goes well, at once."""
    words = ["go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"]
    stages = (
        Path(run(words, folder=E2E / "node_image" / "programs" / "kwok").strip())
        / "kustomize"
        / "stage"
    )
    return [str(stages / name) for name in _STAGES]


def _node(name: str) -> dict[str, Any]:
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
