"""A thousand jobs at once, beside what the API server takes from anybody in the same run."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from gridloom_services.scheduler.runtime.kubernetes import names

from tests.e2e.figures.bare import BareClient, api_of
from tests.e2e.figures.kwok import FLAVOUR, SEAT, seeming_nodes
from tests.e2e.machine.run import say

if TYPE_CHECKING:
    from gridloom.client import Client
    from gridloom_services.scheduler.runtime.kubernetes.api import KubernetesApi

    from tests.e2e.support.release import Release

_JOBS = 1000
_PATIENCE_S = 300.0
_OURS = {"labelSelector": names.SELECTOR}


def test_a_thousand_jobs_become_a_thousand_pods(client: Client, release: Release):
    release.upgrade("--set-json", f"jobs.flavours.seeming={FLAVOUR}")
    with seeming_nodes(release.cluster):
        plain, bare = asyncio.run(_limits(release))
        reached = asyncio.run(_rate_of_jobs(release, client))
    say(
        f"{_JOBS} single-pod jobs: {reached:.0f}/s; a bare client makes the same objects at"
        f" {bare:.0f}/s ({reached / bare:.0%}), plain pods at {plain:.0f}/s ({reached / plain:.0%})"
    )


async def _limits(release: Release) -> tuple[float, float]:
    api = await api_of(release)
    client = BareClient(api, release)
    plain, bare = await client.plain_rate(_JOBS), await client.gang_rate(_JOBS)
    await api.close()
    return plain, bare


async def _rate_of_jobs(release: Release, client: Client) -> float:
    api = await api_of(release)
    requests: list[Any] = [
        {"command": ["true"], "cpus": 0.1, "resources": {SEAT: 1}} for _ in range(_JOBS)
    ]
    began = time.monotonic()
    jobs = await asyncio.to_thread(client.run_many, requests)
    await _until_there(api, release, {names.label_value(job.id) for job in jobs})
    took_s = time.monotonic() - began
    for job in jobs:
        await asyncio.to_thread(job.cancel, grace=0)
    await api.close()
    return _JOBS / took_s


async def _until_there(api: KubernetesApi, release: Release, jobs: set[str]) -> None:
    """Until a pod of each of these jobs has been made."""
    async with asyncio.timeout(_PATIENCE_S):
        async for event in api.watch(_pods(release), _OURS):
            jobs.discard(event.object["metadata"].get("labels", {}).get(names.JOB))
            if not jobs:
                return


def _pods(release: Release) -> str:
    return f"/api/v1/namespaces/{release.namespace}/pods"
