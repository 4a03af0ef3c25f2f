"""`helm uninstall`, last of all: nothing is left of the platform."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gridloom.jobs.states import JobState

from tests.e2e.support.release import NAME, NAMESPACE
from tests.support.eventually import eventually_now

if TYPE_CHECKING:
    from gridloom.client import Client

    from tests.e2e.support.release import Release

_NAMESPACED = (
    "deployments,statefulsets,jobs,pods,services,configmaps,secrets,serviceaccounts,roles,"
    "rolebindings,networkpolicies,poddisruptionbudgets,persistentvolumeclaims"
)
_OF_THE_CLUSTER = "clusterroles,clusterrolebindings,priorityclasses"
# What every namespace has.
_NOT_OURS = {"kube-root-ca.crt", "default", "kubernetes"}


def test_an_uninstall_leaves_nothing(client: Client, release: Release):
    listens = client.run(["sleep", "600"], cpus=0.1)
    script = "trap '' TERM; while :; do sleep 1; done"
    does_not = client.run(["sh", "-c", script], cpus=0.1)
    for job in (listens, does_not):
        eventually_now(lambda job=job: job.state is JobState.RUNNING)
    release.helm("uninstall", NAME, "--wait", "--timeout", "300s")
    eventually_now(lambda: not _left(release))


def _left(release: Release) -> list[str]:
    inside = release.objects(_NAMESPACED)
    words = release.cluster.kubectl("get", _OF_THE_CLUSTER, "-o", "json")
    everywhere = [
        found
        for found in json.loads(words)["items"]
        if found["metadata"].get("annotations", {}).get("meta.helm.sh/release-namespace")
        == NAMESPACE
    ]
    names = [f"{found['kind']}/{found['metadata']['name']}" for found in (*inside, *everywhere)]
    return [name for name in names if name.partition("/")[2] not in _NOT_OURS]
