"""`helm upgrade` amid running work loses nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.jobs.states import JobState

from tests.e2e.support.work import slowly
from tests.support.eventually import eventually_now

if TYPE_CHECKING:
    from gridloom.client import Client

    from tests.e2e.support.release import Release

_ITEMS = 100


def test_an_upgrade_rolls_every_service_amid_work(client: Client, release: Release):
    before = {pod["metadata"]["uid"] for pod in _pods_of_services(release)}
    ended = client.run(["echo", "before"], cpus=0.1)
    assert ended.result(timeout="2m").exit_code == 0
    command = "sleep 30; echo still here | tee said.txt"
    job = client.run(command, shell=True, outputs=["said.txt"], cpus=0.1, retries=0)
    eventually_now(lambda: job.state is JobState.RUNNING)
    with client.pool(workers=2, cpus=0.1) as pool:
        results = pool.map(slowly, range(_ITEMS))
        first = next(results)
        release.upgrade("--set", "logLevel=debug")
        assert [first, *results] == [number + 1 for number in range(_ITEMS)]
    assert job.result(timeout="3m").exit_code == 0
    assert job.outputs["said.txt"].read_text() == "still here\n"
    assert list(job.logs()) == ["still here"]
    assert list(ended.logs()) == ["before"]
    after = {pod["metadata"]["uid"] for pod in _pods_of_services(release)}
    assert not before & after


def _pods_of_services(release: Release) -> list[dict[str, dict[str, str]]]:
    selector = "app.kubernetes.io/component in (scheduler, functions, objects, mpi)"
    return release.objects("pods", "-l", selector)
