"""A real cluster as a stage for runtimes.

E2E_KUBECONFIG names it, E2E_NODE one of its nodes, E2E_WORKER_IMAGE an image with `gridloom` that
is on it, E2E_HOST an address of this machine that its pods reach. One namespace per test process.
"""

from __future__ import annotations

import asyncio
import atexit
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from gridloom_services.scheduler.runtime.kubernetes import names
from gridloom_services.scheduler.runtime.kubernetes.api import (
    ApiError,
    KubernetesApi,
    load_configuration,
)
from gridloom_services.scheduler.runtime.kubernetes.plan import KubernetesSettings, PodPlan
from gridloom_services.scheduler.runtime.kubernetes.report import pod_is_over
from gridloom_services.scheduler.runtime.kubernetes.runtime import KubernetesRuntime

from tests.support.object_server import ObjectServer
from tests.support.runtimes import AROUND, KUBECONFIG, PATIENCE_S, shell_script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from gridloom_services.scheduler.runtime.base import Runtime
    from gridloom_services.scheduler.runtime.memory_cluster import Behaviour

WORKER_IMAGE = os.environ.get("E2E_WORKER_IMAGE", "gridloom/worker:0.1.0-py3.11")
HOST = os.environ.get("E2E_HOST", "172.18.0.1")
NAMESPACE = os.environ.get("E2E_NAMESPACE", f"k2-{os.getpid()}")


async def api_of_cluster() -> KubernetesApi:
    return KubernetesApi(await load_configuration(Path(KUBECONFIG), ""))


@cache
def object_server() -> ObjectServer:
    """One for all tests of this process; gangs are told of it."""
    server = ObjectServer(HOST)
    AROUND.env = {"GRIDLOOM_ADDRESS": server.address}
    AROUND.token = "a-token"
    atexit.register(server.stop)
    return server


@cache
def namespace() -> str:
    """The namespace of this process, made now and taken away when its tests are over."""
    asyncio.run(_make_namespace())
    return NAMESPACE


def remove_namespace() -> None:
    """Take away what was made."""
    if namespace.cache_info().currsize:
        asyncio.run(_remove_namespace())


async def _make_namespace() -> None:
    api = await api_of_cluster()
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    await api.create("/api/v1/namespaces", manifest)
    await api.close()


async def _remove_namespace() -> None:
    api = await api_of_cluster()
    await api.delete(f"/api/v1/namespaces/{NAMESPACE}")
    await api.close()


def settings(**changes: object) -> KubernetesSettings:
    pods = PodPlan(WORKER_IMAGE, pull_policy="Never", storing_s=60.0)
    given = {"namespace": namespace_made(), "pods": pods, "kubeconfig": Path(KUBECONFIG)}
    return KubernetesSettings(**{**given, **changes})


def namespace_made() -> str:
    """The namespace, also from within a running loop."""
    import threading

    thread = threading.Thread(target=namespace)
    thread.start()
    thread.join()
    return NAMESPACE


class KubernetesStage:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.objects = object_server()
        self.settings = settings()

    def acts(
        self, behaviour: Behaviour, files: Mapping[str, bytes] | None = None
    ) -> tuple[str, ...]:
        return ("sh", "-c", shell_script(behaviour, files or {}))

    def make(self) -> Runtime:
        return KubernetesRuntime(self.settings, self.objects, self.folder / "spool")

    def content(self, digest: str) -> bytes:
        return self.objects.objects[digest]

    async def prepare(self) -> None:
        """Names of gangs are unique outside of tests: here the cluster has to clear up first."""
        api = await api_of_cluster()
        base = f"/api/v1/namespaces/{NAMESPACE}"
        selector = {"labelSelector": names.SELECTOR}
        async with asyncio.timeout(PATIENCE_S):
            for kind in ("pods", "secrets", "services", "configmaps"):
                while (await api.get(f"{base}/{kind}", selector))["items"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        await api.close()

    async def until_over(self, name: str) -> None:
        api = await api_of_cluster()
        selector = {"labelSelector": f"{names.GANG}={names.label_value(name)}"}
        path = f"/api/v1/namespaces/{NAMESPACE}/pods"
        async with asyncio.timeout(PATIENCE_S):
            while not all(  # noqa: ASYNC110
                map(pod_is_over, (await api.get(path, selector))["items"])
            ):
                await asyncio.sleep(0.2)
        await api.close()


async def events(api: KubernetesApi) -> AsyncIterator[str]:
    """What the cluster says of this namespace: for a look at a test that failed."""
    for item in (await api.get(f"/api/v1/namespaces/{NAMESPACE}/events"))["items"]:
        yield f"{item['involvedObject']['name']} {item['reason']}: {item.get('message', '')}"


__all__ = ["ApiError", "KubernetesStage", "api_of_cluster", "events", "settings"]
