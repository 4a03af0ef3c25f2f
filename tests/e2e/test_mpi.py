"""MPI over two nodes, with the client outside the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gridloom
import pytest
from gridloom.errors import JobFailedError
from gridloom.jobs.states import JobState

from tests.e2e.support.ranks import (
    HELLO,
    OVER_TWO_NODES,
    RANKS,
    dies_on,
    fails_on,
    shared,
    too_large_for_one,
    waits,
    where,
)
from tests.support.eventually import eventually_now

if TYPE_CHECKING:
    from gridloom.client import Client

    from tests.e2e.cluster.cluster import Cluster
    from tests.e2e.support.release import Release

_PATIENCE_S = 180
# Of an array that ranks share: more than the 64 MiB that a container has of itself.
_LENGTH = 10 << 20


def test_a_program_on_two_nodes_whose_ranks_speak_for_themselves(client: Client, cluster: Cluster):
    job = client.mpi.run(["python", "-c", HELLO], **too_large_for_one(client))
    assert job.result(_PATIENCE_S).exit_code == 0
    said = [list(job.logs(rank=rank)) for rank in range(RANKS)]
    assert said[0].pop() == "sum 6"
    nodes = [node for [node] in said]
    assert set(nodes) == set(cluster.workers())
    assert nodes == sorted(nodes, key=nodes.index)  # those of a node follow each other


def test_a_function_returns_the_results_of_all_ranks(client: Client):
    future = client.mpi.submit(gridloom.mpi(**OVER_TWO_NODES)(shared), _LENGTH)
    results = future.result(_PATIENCE_S)
    assert [total for total, _ in results] == [6.0] * RANKS
    # Each node's ranks see what the first of them wrote.
    firsts = [first for _, (first, _) in results]
    sizes = [size for _, (_, size) in results]
    assert [firsts.count(first) for first in firsts] == sizes
    assert max(sizes) < RANKS


def test_what_a_rank_of_the_other_node_raises_is_raised_with_its_rank(client: Client):
    fails = gridloom.mpi(**OVER_TWO_NODES)(fails_on)
    with pytest.raises(ValueError, match="rank 3 will not") as caught:
        client.mpi.submit(fails, RANKS - 1).result(_PATIENCE_S)
    assert any(f"rank 3 of {RANKS}" in note for note in caught.value.__notes__)


def test_a_rank_that_dies_on_the_other_node_is_named(client: Client):
    dies = gridloom.mpi(**OVER_TWO_NODES)(dies_on)
    with pytest.raises(JobFailedError, match="rank 3: exit code 9") as caught:
        client.mpi.submit(dies, RANKS - 1).result(_PATIENCE_S)
    assert caught.value.rank == RANKS - 1


def test_a_world_over_two_nodes_takes_one_call_after_the_other(client: Client, cluster: Cluster):
    with client.mpi.world(**OVER_TWO_NODES) as world:
        assert set(world.call(where)) == set(cluster.workers())
        with pytest.raises(ValueError, match="rank 0 will not"):
            world.call(fails_on, 0)
        assert set(world.call(where)) == set(cluster.workers())


def test_ranks_that_are_cancelled_leave_nothing(client: Client, release: Release):
    future = client.mpi.submit(gridloom.mpi(**OVER_TWO_NODES)(waits))
    job = client.mpi.job(future.id)
    eventually_now(lambda: job.state is JobState.RUNNING)
    job.cancel()
    assert job.wait(_PATIENCE_S) is JobState.CANCELLED
    name = job.id.replace("_", "-").lower()
    kinds = "pods,services,configmaps,secrets,networkpolicies"
    eventually_now(lambda: name not in release.kubectl("get", kinds, "-o", "name"))


def test_a_gang_has_a_policy_that_lets_in_its_own_pods_alone(client: Client, release: Release):
    future = client.mpi.submit(gridloom.mpi(**OVER_TWO_NODES)(waits))
    job = client.mpi.job(future.id)
    eventually_now(lambda: job.state is JobState.RUNNING)
    name = job.id.replace("_", "-").lower()
    [policy] = [
        found
        for found in release.objects("networkpolicies")
        if name in str(found["metadata"]["name"])
    ]
    spec = policy["spec"]
    assert spec["ingress"] == [{"from": [{"podSelector": spec["podSelector"]}]}]
    pods = release.objects("pods", "-l", f"gridloom.io/job={job.id}")
    wanted = spec["podSelector"]["matchLabels"].items()
    assert len(pods) == len({pod["spec"]["nodeName"] for pod in pods}) > 1
    assert all(wanted <= pod["metadata"]["labels"].items() for pod in pods)
    job.cancel()


def test_the_other_implementation_runs_on_one_node(client: Client):
    job = client.mpi.run(["python", "-c", HELLO], ranks=2, cpus=0.1, implementation="openmpi")
    assert job.result(_PATIENCE_S).exit_code == 0
    assert "sum 1" in list(job.logs(rank=0))
