"""The runtime on Kubernetes' own API server, and what may be wrong there; no node is needed."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from gridloom_services.scheduler.runtime.base import EXIT_NOT_STARTED, Phase
from gridloom_services.scheduler.runtime.kubernetes.api import ApiError
from gridloom_services.scheduler.runtime.kubernetes.permissions import (
    FOR_POLICIES,
    NEEDED,
    MissingPermissionError,
)
from gridloom_services.scheduler.runtime.kubernetes.plan import KubernetesSettings, PodPlan
from gridloom_services.scheduler.runtime.kubernetes.runtime import KubernetesRuntime
from gridloom_services.scheduler.states import FailureClass

from tests.e2e.support.webhook import refusing_webhook
from tests.support.api_server import ApiServer, programs
from tests.support.runtimes import ObjectsInMemory, Watcher, everywhere, gang

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from gridloom_services.scheduler.runtime.kubernetes.permissions import Permission

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

USER = "scheduler"
NODE = "far"
# A node whose clock stands still, years ago.
LONG_AGO = "2001-01-01T00:00:00Z"
FAR_AHEAD = "2090-01-01T00:00:00Z"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    folders = programs()
    if folders is None:
        pytest.skip("etcd and Kubernetes' programs are not built here; `make e2e` builds them")
    running = ApiServer(*folders, users=(USER,))
    try:
        running.apply(object_of("Node", NODE))
        running.kubectl("patch", "node", NODE, "--type=merge", "-p", '{"spec":{"taints":null}}')
        running.set_status("node", NODE, node_status("4"))
        yield running
    finally:
        running.stop()


@pytest.fixture
def namespace(server: ApiServer) -> str:
    """One in which the scheduler may do what it needs."""
    name = f"jobs-{next(_numbers)}"
    server.apply(object_of("Namespace", name))
    allow(server, name, lambda _: True)
    return name


def object_of(kind: str, name: str, namespace: str = "", **content: Any) -> dict[str, Any]:
    version = "rbac.authorization.k8s.io/v1" if "Role" in kind else "v1"
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}


def node_status(cpu: str) -> dict[str, Any]:
    room = {"cpu": cpu, "memory": "8Gi", "pods": "110"}
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "",
        "lastHeartbeatTime": LONG_AGO,
        "lastTransitionTime": LONG_AGO,
    }
    return {"capacity": room, "allocatable": room, "conditions": [ready]}


def allow(server: ApiServer, namespace: str, allowed: Callable[[Permission], bool]) -> None:
    """Let the scheduler do what the runtime needs, as far as `allowed` says."""
    for kind, everywhere_, where in (("Role", False, namespace), ("ClusterRole", True, "")):
        rules = [
            {"apiGroups": [each.group], "resources": [each.kind], "verbs": [each.verb]}
            for each in NEEDED + FOR_POLICIES
            if each.everywhere is everywhere_ and allowed(each)
        ]
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": USER}
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}
        server.apply(
            object_of(kind, USER, where, rules=rules),
            object_of(f"{kind}Binding", USER, where, roleRef=role, subjects=[subject]),
        )


def runtime_of(server: ApiServer, namespace: str, folder: Path) -> KubernetesRuntime:
    pods = PodPlan("gridloom/worker:none", lost_node_s=0.1, network_policies=True)
    settings = KubernetesSettings(namespace, pods, kubeconfig=server.kubeconfig(USER))
    return KubernetesRuntime(settings, ObjectsInMemory(), folder / "spool")


@asynccontextmanager
async def opened(
    server: ApiServer, namespace: str, folder: Path
) -> AsyncIterator[tuple[KubernetesRuntime, Watcher]]:
    runtime = runtime_of(server, namespace, folder)
    await open_when_allowed(runtime)
    watcher = Watcher(runtime)
    try:
        yield runtime, watcher
    finally:
        await runtime.close()
        await watcher.close()


async def open_when_allowed(runtime: KubernetesRuntime) -> None:
    """The server hears of its own rules a moment after they were written."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await runtime.open()
            except MissingPermissionError:
                await asyncio.sleep(0.1)


async def pods(runtime: KubernetesRuntime, namespace: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await runtime.api.get(f"/api/v1/namespaces/{namespace}/pods"))[
        "items"
    ]
    return found


async def until_made(runtime: KubernetesRuntime, namespace: str, count: int) -> list[str]:
    """The names of the pods, in their order, once there are so many."""
    async with asyncio.timeout(60):
        while True:
            found = await pods(runtime, namespace)
            if len(found) == count:
                return sorted(pod["metadata"]["name"] for pod in found)
            await asyncio.sleep(0.05)


async def test_each_right_that_is_missing_is_named_at_the_start(server, namespace, tmp_path):
    missing = {("create", "secrets"), ("watch", "nodes"), ("get", "pods/exec")}
    allow(server, namespace, lambda each: (each.verb, each.kind) not in missing)
    runtime = runtime_of(server, namespace, tmp_path)
    with pytest.raises(MissingPermissionError) as error:
        await runtime.open()
    said = str(error.value)
    assert f'"create" on secrets in namespace "{namespace}"' in said
    assert '"watch" on nodes in the cluster' in said
    assert f'"get" on pods/exec in namespace "{namespace}"' in said
    assert said.count('" on ') == len(missing)


async def test_a_quota_that_is_used_up_is_told_as_what_is_in_the_way(server, namespace, tmp_path):
    hard = {"pods": "0"}
    server.apply(object_of("ResourceQuota", "small", namespace, spec={"hard": hard}))
    server.set_status("quota", "small", {"hard": hard, "used": hard}, "-n", namespace)
    async with opened(server, namespace, tmp_path) as (runtime, watcher):
        made = gang("true")
        await runtime.start(made, everywhere(made, NODE))
        end = await watcher.ended()
        assert end.failure_class is FailureClass.UNSCHEDULABLE
        assert "the namespace's quota is in the way: small" in end.reason
        assert await pods(runtime, namespace) == []


async def test_a_webhook_that_refuses_is_named_with_its_reason(server, namespace, tmp_path):
    async with opened(server, namespace, tmp_path) as (runtime, watcher):
        with refusing_webhook(server, namespace, "only signed images", "127.0.0.1"):
            await until_it_refuses(runtime, namespace)
            made = gang("true")
            await runtime.start(made, everywhere(made, NODE))
            end = await watcher.ended()
        assert end.failure_class is FailureClass.APPLICATION_ERROR
        assert end.exit_code == EXIT_NOT_STARTED
        assert 'admission webhook "signatures.gridloom-e2e.test" refuses' in end.reason
        assert "only signed images" in end.reason
        assert await pods(runtime, namespace) == []


async def until_it_refuses(runtime: KubernetesRuntime, namespace: str) -> None:
    """The server hears of its webhooks a moment after they were written."""
    trial = object_of("Pod", "trial", spec={"containers": [{"name": "a", "image": "a"}]})
    trial["metadata"]["labels"] = {"app.kubernetes.io/component": "job"}
    path = f"/api/v1/namespaces/{namespace}/pods"
    async with asyncio.timeout(60):
        while True:
            try:
                await runtime.api.request("POST", path, {"dryRun": "All"}, trial)
            except ApiError as error:
                if "signed" in error.message:
                    return
            await asyncio.sleep(0.1)


async def test_pods_are_made_and_watched_whatever_the_clock_of_their_node_says(
    server, namespace, tmp_path
):
    async with opened(server, namespace, tmp_path) as (runtime, watcher):
        made = gang("true", token="t", replicas=2)
        await runtime.start(made, everywhere(made, NODE))
        for pod in await until_made(runtime, namespace, 2):
            end_as_evicted(server, namespace, pod)
        ends = [await watcher.ended(index=index) for index in range(2)]
        assert [end.failure_class for end in ends] == [FailureClass.EVICTED] * 2
        assert all("low on resource" in end.reason for end in ends)
        assert [node.name for node in await runtime.capacity()] == [NODE]


def end_as_evicted(server: ApiServer, namespace: str, pod: str) -> None:
    status = {
        "phase": "Failed",
        "reason": "Evicted",
        "message": "the node was low on resource: ephemeral-storage",
        "startTime": FAR_AHEAD,
    }
    server.set_status("pod", pod, status, "-n", namespace)


async def test_pods_of_a_gang_have_leave_to_speak_with_each_other(server, namespace, tmp_path):
    async with opened(server, namespace, tmp_path) as (runtime, _):
        one, two = gang("true"), gang("true", name="job_b-a1", replicas=2)
        for made, pods_so_far in ((one, 1), (two, 3)):
            await runtime.start(made, everywhere(made, NODE))
            await until_made(runtime, namespace, pods_so_far)
        found = server.kubectl("get", "networkpolicies", "-n", namespace, "-o", "name").split()
        assert found == ["networkpolicy.networking.k8s.io/job-b-a1"]


async def test_work_goes_on_when_the_server_comes_back(server, namespace, tmp_path):
    async with opened(server, namespace, tmp_path) as (runtime, watcher):
        before, after = gang("true"), gang("true", name="job_b-a1")
        await runtime.start(before, everywhere(before, NODE))
        [pod] = await until_made(runtime, namespace, 1)
        server.kill()
        starting = asyncio.create_task(runtime.start(after, everywhere(after, NODE)))
        server.start_again()
        await starting
        await asyncio.to_thread(server.wait_until_ready)
        assert pod in await until_made(runtime, namespace, 2)
        end_as_evicted(server, namespace, pod)
        end = await watcher.until(lambda status: status.phase is Phase.ENDED)
        assert (end.gang, end.failure_class) == ("job_a-a1", FailureClass.EVICTED)
    async with opened(server, namespace, tmp_path) as (runtime, _):
        assert await runtime.names() == {"job_a-a1", "job_b-a1"}
        assert len(await pods(runtime, namespace)) == 2


_REVISION = "jsonpath={.metadata.resourceVersion}"


async def test_a_gang_is_an_object_a_secret_and_a_pod_each_written_once(
    server, namespace, tmp_path
):
    async with opened(server, namespace, tmp_path) as (runtime, _):
        one = gang("true", token="t")
        await runtime.start(one, everywhere(one, NODE))
        [pod] = await pods(runtime, namespace)  # there when `start` returns
        revisions = [
            int(server.kubectl("get", *what, "-n", namespace, "-o", _REVISION))
            for what in (("configmap", "job-a-a1"), ("secret", "job-a-a1-token"))
        ]
        revisions.append(int(pod["metadata"]["resourceVersion"]))
        # What had been changed afterwards would have a later one.
        assert revisions == sorted(revisions)


async def test_a_gang_whose_pod_nobody_finds_is_lost_and_not_made_again(
    server, namespace, tmp_path
):
    one = gang("true", token="t")
    async with opened(server, namespace, tmp_path) as (runtime, _):
        await runtime.start(one, everywhere(one, NODE))
        [pod] = await until_made(runtime, namespace, 1)
    server.kubectl("delete", "pod", pod, "-n", namespace, "--grace-period=0", "--force")
    async with opened(server, namespace, tmp_path) as (runtime, watcher):
        end = await watcher.ended()
        assert end.failure_class is FailureClass.NODE_LOST
        assert "cut short" in end.reason
        assert await pods(runtime, namespace) == []
        await runtime.forget(one.name)
        assert await runtime.names() == frozenset()


async def test_what_others_claim_counts_in_every_namespace_and_what_gangs_have_does_not(
    server, namespace, tmp_path
):
    async with opened(server, namespace, tmp_path) as (runtime, _):
        one = gang("true", resources={"cpu": 1000})
        await runtime.start(one, everywhere(one, NODE))
        server.apply(object_of("Namespace", f"{namespace}-others"))
        for where in (namespace, f"{namespace}-others"):
            server.apply(claiming_pod(where, "500m"))
        async with asyncio.timeout(60):
            while (await runtime.capacity())[0].capacity["cpu"] != 3000:
                await runtime.capacity_changed()


def claiming_pod(namespace: str, cpu: str) -> dict[str, Any]:
    container = {"name": "it", "image": "x", "resources": {"requests": {"cpu": cpu}}}
    spec = {"containers": [container], "nodeName": NODE, "automountServiceAccountToken": False}
    return object_of("Pod", "other", namespace, spec=spec)
