"""Command jobs as pods: on each pool, as gangs, and with files that go there and come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.jobs.states import JobState

from tests.e2e.support.pools import GPUS
from tests.support.eventually import eventually_now

if TYPE_CHECKING:
    from gridloom.client import Client

    from tests.e2e.cluster.cluster import Cluster
    from tests.e2e.support.release import Release

_NODE = 'echo "$GRIDLOOM_REPLICA_INDEX $GRIDLOOM_NODE"'


def test_a_command_runs_and_its_words_outlive_its_pod(client: Client, release: Release):
    job = client.run(["sh", "-c", "echo one; echo two >&2"], cpus=0.1, memory="64MiB")
    assert job.result(timeout="2m").exit_code == 0
    eventually_now(lambda: not _pods_of(release, job.id))
    assert sorted(job.logs()) == ["one", "two"]
    assert list(job.logs(stream="stderr")) == ["two"]


def test_a_job_with_gpus_runs_where_there_are_some(client: Client, cluster: Cluster):
    job = client.run(["sh", "-c", _NODE], cpus=0.1, gpus=2)
    job.result(timeout="2m")
    assert list(job.logs()) == [f"0 {cluster.workers()[1]}"]


def test_gpus_of_a_flavour_come_from_its_pool(client: Client, cluster: Cluster):
    job = client.run(["sh", "-c", _NODE], cpus=0.1, gpus=1, gpu_flavor="gpu")
    job.result(timeout="2m")
    assert list(job.logs()) == [f"0 {cluster.workers()[1]}"]


def test_files_go_there_and_outputs_come_back(client: Client):
    job = client.run(
        "tr a-z A-Z < data/in.txt > out.txt",
        shell=True,
        files={"data/in.txt": b"there and back"},
        outputs=["out.txt"],
        cpus=0.1,
    )
    job.result(timeout="2m")
    assert job.outputs["out.txt"].read_text() == "THERE AND BACK"


def test_a_gang_that_no_node_can_hold_runs_on_two(client: Client, cluster: Cluster):
    # All that the smaller one has, each: more than the larger one has for both.
    share = min(node.capacity["cpu"] for node in client.nodes()) / 1000
    job = client.run(["sh", "-c", _NODE], replicas=2, cpus=share)
    job.result(timeout="3m")
    found = dict(line.split() for line in job.logs())
    assert sorted(found.values()) == sorted(cluster.workers())


def test_a_gang_that_is_larger_than_what_is_free_waits_whole(client: Client, release: Release):
    first = client.run(["sleep", "600"], gpus=GPUS - 1, cpus=0.1)
    eventually_now(lambda: first.state is JobState.RUNNING)
    gang = client.run(["true"], replicas=2, gpus=GPUS // 2, cpus=0.1)
    explanation = gang.explain()
    assert explanation.resource == "nvidia.com/gpu"
    assert gang.state is JobState.QUEUED
    assert not _pods_of(release, gang.id)
    first.cancel()
    assert gang.result(timeout="2m").exit_code == 0


def _pods_of(release: Release, job_id: str) -> list[str]:
    """Names of the pods of a job that are there now."""
    wanted = job_id.replace("_", "-").lower()
    names = [str(pod["metadata"]["name"]) for pod in release.objects("pods")]
    return [name for name in names if wanted in name]
