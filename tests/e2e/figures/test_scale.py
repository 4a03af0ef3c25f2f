"""A thousand jobs at once, beside what the API server takes from anybody in the same run."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from gridloom_services.scheduler.runtime.kubernetes import names
from gridloom_services.scheduler.runtime.kubernetes.api import KubernetesApi, load_configuration

from tests.e2e.figures.kwok import FLAVOUR, SEAT, seeming_nodes
from tests.e2e.machine.run import say

if TYPE_CHECKING:
    from gridloom.client import Client

    from tests.e2e.support.release import Release

_JOBS = 1000
_NODES = 20
# As many as the runtime makes at once.
_AT_ONCE = 32
_PATIENCE_S = 300.0
_PAUSE_S = 0.5
_PLAIN = {"labelSelector": "gridloom.test/plain=yes"}


def test_a_thousand_jobs_become_a_thousand_pods(client: Client, release: Release):
    release.upgrade("--set-json", f"jobs.flavours.seeming={FLAVOUR}")
    with seeming_nodes(release.cluster, _NODES):
        limit = asyncio.run(_plain_rate(release))
        reached = asyncio.run(_rate_of_jobs(release, client))
    say(f"{_JOBS} single-pod jobs: {reached:.0f}/s; plain pods by the API server: {limit:.0f}/s")


async def _rate_of_jobs(release: Release, client: Client) -> float:
    api = await _api(release)
    requests: list[Any] = [
        {"command": ["true"], "cpus": 0.1, "resources": {SEAT: 1}} for _ in range(_JOBS)
    ]
    began = time.monotonic()
    jobs = await asyncio.to_thread(client.run_many, requests)
    await _until_there(api, release)
    took_s = time.monotonic() - began
    found = await api.get(_pods(release), {"labelSelector": names.SELECTOR})
    assert len(found["items"]) == _JOBS
    for job in jobs:
        await asyncio.to_thread(job.cancel, grace=0)
    await api.close()
    return _JOBS / took_s


async def _plain_rate(release: Release) -> float:
    """The same number of small pods, made by nobody but this process."""
    api, gate = await _api(release), asyncio.Semaphore(_AT_ONCE)

    async def make(index: int) -> None:
        async with gate:
            await api.create(_pods(release), _plain_pod(index))

    began = time.monotonic()
    await asyncio.gather(*map(make, range(_JOBS)))
    took_s = time.monotonic() - began
    # In one request, and without a word to nodes: kubectl would wait for each of them.
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
    await api.request("DELETE", _pods(release), _PLAIN, body=options)
    async with asyncio.timeout(_PATIENCE_S):
        while (await api.get(_pods(release), _PLAIN))["items"]:  # noqa: ASYNC110
            await asyncio.sleep(_PAUSE_S)
    await api.close()
    return _JOBS / took_s


async def _until_there(api: KubernetesApi, release: Release) -> None:
    """Until pods of so many jobs have been made."""
    seen = set()
    async with asyncio.timeout(_PATIENCE_S):
        async for event in api.watch(_pods(release), {"labelSelector": names.SELECTOR}):
            seen.add(event.object["metadata"].get("labels", {}).get(names.JOB))
            if len(seen - {None}) == _JOBS:
                return


async def _api(release: Release) -> KubernetesApi:
    return KubernetesApi(await load_configuration(release.cluster.kubeconfig, ""))


def _pods(release: Release) -> str:
    return f"/api/v1/namespaces/{release.namespace}/pods"


def _plain_pod(index: int) -> dict[str, Any]:
    toleration = json.loads(FLAVOUR)["tolerations"]
    requests = {"requests": {"cpu": "100m", SEAT: "1"}, "limits": {SEAT: "1"}}
    container = {"name": "it", "image": "nothing", "resources": requests}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"plain-{index}", "labels": {"gridloom.test/plain": "yes"}},
        "spec": {"containers": [container], "tolerations": toleration, "restartPolicy": "Never"},
    }
