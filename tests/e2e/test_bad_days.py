"""What may be wrong in a cluster that is somebody else's: each is said in words of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from gridloom import Retries, errors
from gridloom.jobs.states import JobState, PendingReason

from tests.e2e.machine.run import StepError, run
from tests.e2e.support.release import NAME
from tests.e2e.support.webhook import refusing_webhook
from tests.support.eventually import eventually_now

if TYPE_CHECKING:
    from gridloom.client import Client

    from tests.e2e.cluster.cluster import Cluster
    from tests.e2e.support.release import Release

_ONCE: dict[str, Any] = {"cpus": 0.1, "retries": Retries(unschedulable=0)}


def test_a_permission_that_is_missing_is_named_at_the_start(client: Client, release: Release):
    name = f"{NAME}-scheduler"
    role = json.loads(release.kubectl("get", "role", name, "-o", "json"))
    less = [rule for rule in role["rules"] if "secrets" not in rule["resources"]]
    _give(release, name, less)
    try:
        release.kill("scheduler")
        wanted = 'lacks "create" on secrets in namespace'
        eventually_now(lambda: wanted in _words_of_scheduler(release))
    finally:
        _give(release, name, role["rules"])
    release.kill("scheduler")
    release.wait_until_ready("scheduler")
    assert client.run(["true"], cpus=0.1).result(timeout="2m").exit_code == 0


def test_a_quota_of_the_namespace_is_named(client: Client, release: Release):
    release.kubectl("create", "quota", "small", "--hard=pods=1")
    try:
        with pytest.raises(errors.UnschedulableError, match="quota is in the way"):
            client.run(["true"], **_ONCE).result(timeout="2m")
    finally:
        release.kubectl("delete", "quota", "small")


def test_an_admission_webhook_that_refuses_is_named(
    client: Client, release: Release, cluster: Cluster
):
    with (
        refusing_webhook(cluster, release.namespace, "only signed images"),
        pytest.raises(errors.JobError, match="only signed images"),
    ):
        client.run(["true"], **_ONCE).result(timeout="2m")


def test_work_goes_on_while_the_api_server_restarts(client: Client, cluster: Cluster):
    if not cluster.ours:
        pytest.skip("only the API server of a cluster made here can be restarted")
    job = client.run(["sh", "-c", "echo begun; sleep 15; echo done"], cpus=0.1, retries=0)
    eventually_now(lambda: job.state is JobState.RUNNING)
    _restart_api_server(cluster)
    after = client.run(["true"], cpus=0.1)
    assert job.result(timeout="3m").exit_code == 0
    assert list(job.logs()) == ["begun", "done"]
    assert after.result(timeout="3m").exit_code == 0


def test_what_others_have_taken_of_the_nodes_is_waited_for(
    client: Client, release: Release, cluster: Cluster
):
    free = {node.name: node.free["cpu"] - 100 for node in client.nodes()}
    pods = _listed([_filler(node, cpu) for node, cpu in free.items()])
    cluster.kubectl("apply", "-f", "-", text=json.dumps(pods))
    try:
        eventually_now(lambda: all(node.free["cpu"] <= 100 for node in client.nodes()))
        waiting = client.run(["true"], cpus=0.2)
        eventually_now(lambda: waiting.explain().reason is PendingReason.NODES_TOO_SMALL)
        assert "at most 0.1 cpu" in waiting.explain().message
        with pytest.raises(errors.InvalidRequestError, match="could ever give"):
            client.run(["true"], cpus=1000)
    finally:
        cluster.kubectl("delete", "-f", "-", "--now", text=json.dumps(pods))
    assert waiting.result(timeout="2m").exit_code == 0


def _give(release: Release, role: str, rules: list[dict[str, Any]]) -> None:
    change = json.dumps([{"op": "replace", "path": "/rules", "value": rules}])
    release.kubectl("patch", "role", role, "--type=json", "-p", change)


def _words_of_scheduler(release: Release) -> str:
    try:
        return release.kubectl("logs", "-l", "app.kubernetes.io/component=scheduler", "--tail=-1")
    except StepError:  # it has not begun yet
        return ""


def _restart_api_server(cluster: Cluster) -> None:
    """Kill it; the kubelet brings it back."""
    [node] = cluster.kubectl(
        *("get", "nodes", "-l", "node-role.kubernetes.io/control-plane"),
        *("-o", "jsonpath={.items[*].metadata.name}"),
    ).split()
    run(["docker", "exec", node, "pkill", "-KILL", "kube-apiserver"])
    eventually_now(lambda: _answers(cluster))


def _answers(cluster: Cluster) -> bool:
    try:
        return cluster.kubectl("get", "--raw=/readyz", "--request-timeout=2s") == "ok"
    except StepError:
        return False


def _listed(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _filler(node: str, cpu: int) -> dict[str, Any]:
    """A pod of somebody else's, of an image that every node has."""
    container = {
        "name": "filler",
        "image": "gridloom-e2e/filler:none",
        "imagePullPolicy": "Never",
        "resources": {"requests": {"cpu": f"{cpu}m"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"filler-{node}", "namespace": "default"},
        "spec": {
            "nodeName": node,
            "tolerations": [{"operator": "Exists"}],
            "containers": [container],
        },
    }
