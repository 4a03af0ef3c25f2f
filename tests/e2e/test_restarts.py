"""A service's pod is killed amid work: what was accepted ends once, and well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from gridloom.jobs.states import JobState

from tests.e2e.support.work import slowly
from tests.support.eventually import eventually_now

if TYPE_CHECKING:
    from gridloom.client import Client

    from tests.e2e.support.release import Release

_ITEMS = 60


@pytest.mark.parametrize(
    "component", ["scheduler", "functions", "objects", "mpi", "front", "postgresql"]
)
def test_work_goes_on_when_a_pod_is_killed(client: Client, release: Release, component: str):
    job = client.run(["sh", "-c", "echo begun; sleep 15; echo done"], cpus=0.1, retries=0)
    eventually_now(lambda: job.state is JobState.RUNNING)
    with client.pool(workers=2, cpus=0.1) as pool:
        results = pool.map(slowly, range(_ITEMS))
        first = next(results)
        release.kill(component)
        assert [first, *results] == [number + 1 for number in range(_ITEMS)]
    assert job.result(timeout="3m").exit_code == 0
    assert list(job.logs()) == ["begun", "done"]
    release.wait_until_ready(component)
