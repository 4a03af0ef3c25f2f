"""Volumes for a cluster that has nothing to provision them: folders of a node."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.e2e.machine.run import run

if TYPE_CHECKING:
    from tests.e2e.cluster.cluster import Cluster

_NAMES = ("gridloom-e2e-1", "gridloom-e2e-2")
_CLASS = "standard"


def make_volumes(cluster: Cluster) -> None:
    """One volume each for PostgreSQL and for payloads, on the first worker."""
    node = cluster.workers()[0]
    if "Released" in cluster.kubectl("get", "persistentvolumes", "--no-headers"):
        # Of an installation that is gone, on a cluster that was kept.
        remove_volumes(cluster)
    for name in _NAMES:
        run(["docker", "exec", node, "mkdir", "-p", f"/var/local/{name}"])
        cluster.kubectl("apply", "-f", "-", text=json.dumps(volume(name, node)))


def remove_volumes(cluster: Cluster) -> None:
    """Remove them with what is in them."""
    node = cluster.workers()[0]
    for name in _NAMES:
        cluster.kubectl("delete", "persistentvolume", name, "--ignore-not-found")
        run(["docker", "exec", node, "rm", "-rf", f"/var/local/{name}"])


def volume(name: str, node: str) -> dict[str, Any]:
    """A local volume: unlike a host path it is given to the pod's group by the kubelet."""
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "20Gi"},
            "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
            "storageClassName": _CLASS,
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": f"/var/local/{name}"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }
