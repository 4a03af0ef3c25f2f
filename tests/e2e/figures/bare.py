"""What the API server takes from a client that does nothing else: the limit of all schedulers."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from gridloom_services.scheduler.reconcile import STARTS_AT_ONCE
from gridloom_services.scheduler.runtime.base import Assignment, Gang, GangRole
from gridloom_services.scheduler.runtime.kubernetes.api import KubernetesApi, load_configuration
from gridloom_services.scheduler.runtime.kubernetes.flavours import Flavour
from gridloom_services.scheduler.runtime.kubernetes.manifests import owner_manifest, token_manifest
from gridloom_services.scheduler.runtime.kubernetes.plan import PodPlan
from gridloom_services.scheduler.runtime.kubernetes.pod import PodSite, pod_manifest
from gridloom_services.scheduler.runtime.kubernetes.units import first_units

from tests.e2e.figures.kwok import FLAVOUR, NODES, SEAT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.e2e.support.release import Release

_PATIENCE_S = 300.0
_PAUSE_S = 0.5
_WHOSE = "gridloom.test/bare"
_OURS = {"labelSelector": f"{_WHOSE}=yes"}
_A_TOKEN = "t" * 200


class BareClient:
    """Makes pods in the release's namespace, as many at once as the scheduler does."""

    def __init__(self, api: KubernetesApi, release: Release) -> None:
        self._api = api
        self._path = f"/api/v1/namespaces/{release.namespace}"
        self._gate = asyncio.Semaphore(STARTS_AT_ONCE)

    async def plain_rate(self, count: int) -> float:
        """Small pods a second, and nothing beside them."""

        async def make(index: int) -> None:
            await self._api.create(f"{self._path}/pods", _plain_pod(index))

        return await self._rate(make, count)

    async def gang_rate(self, count: int) -> float:
        """As many pods a second as jobs have, each with all that a job's pod comes with."""

        async def make(index: int) -> None:
            gang, units = _gang(index), first_units(_gang(index), _placement(index))
            owner = owner_manifest(gang, units, _LABELS, None)
            owner = await self._api.create(f"{self._path}/configmaps", owner)
            secret = token_manifest(gang, _LABELS, owner)
            await self._api.request("POST", f"{self._path}/secrets", body=secret)
            [unit] = units.values()
            pod = pod_manifest(gang, unit, _PLAN, PodSite(owner, _SEEMING))
            await self._api.create(f"{self._path}/pods", pod)

        return await self._rate(make, count)

    async def _rate(self, make: Callable[[int], Awaitable[None]], count: int) -> float:
        began = time.monotonic()
        await self._all(make, range(count))
        took_s = time.monotonic() - began
        for kind in ("pods", "secrets", "configmaps"):
            await self._clear(f"{self._path}/{kind}")
        return count / took_s

    async def _clear(self, path: str) -> None:
        """Without a word to nodes; when this returns they are gone."""

        async def delete(item: dict[str, Any]) -> None:
            await self._api.delete(f"{path}/{item['metadata']['name']}", grace_s=0)

        async with asyncio.timeout(_PATIENCE_S):
            while items := (await self._api.get(path, _OURS))["items"]:
                await self._all(delete, items)
                await asyncio.sleep(_PAUSE_S)

    async def _all(self, act: Callable[[Any], Awaitable[None]], each: Any) -> None:
        async def one(item: Any) -> None:
            async with self._gate:
                await act(item)

        await asyncio.gather(*map(one, each))


async def api_of(release: Release) -> KubernetesApi:
    """A client of its own."""
    return KubernetesApi(await load_configuration(release.cluster.kubeconfig, ""))


_LABELS = {_WHOSE: "yes"}
_PLAN = PodPlan("gridloom/worker:none", labels=_LABELS)
_SEEMING = Flavour("seeming", tolerations=tuple(json.loads(FLAVOUR)["tolerations"]))


def _gang(index: int) -> Gang:
    amounts = {"cpu": 100, SEAT: 1}
    role = GangRole("main", (0,), ("true",), resources=amounts)
    name = f"job_bare{index}"
    environment = {"GRIDLOOM_PROJECT": "default", "GRIDLOOM_ADDRESS": "grpc://gridloom-front:50052"}
    return Gang(f"{name}-a1", name, 1, (role,), env=environment, token=_A_TOKEN)


def _placement(index: int) -> tuple[Assignment, ...]:
    return (Assignment("main", 0, NODES[index % len(NODES)]),)


def _plain_pod(index: int) -> dict[str, Any]:
    toleration = json.loads(FLAVOUR)["tolerations"]
    requests = {"requests": {"cpu": "100m", SEAT: "1"}, "limits": {SEAT: "1"}}
    container = {"name": "it", "image": "nothing", "resources": requests}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"plain-{index}", "labels": _LABELS},
        "spec": {"containers": [container], "tolerations": toleration, "restartPolicy": "Never"},
    }
