"""Calls and maps on pools of pods, with the client outside the cluster."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import gridloom

from tests.support.eventually import eventually_now

if TYPE_CHECKING:
    from gridloom.client import Client

    from tests.e2e.cluster.cluster import Cluster
    from tests.e2e.support.release import Release


@gridloom.function(cpus=0.2)
def square(number: int) -> int:
    return number * number


def node_of(_: int) -> str:
    return os.environ["GRIDLOOM_NODE"]


def test_a_map_from_outside(client: Client):
    assert list(client.map(square, range(100))) == [n * n for n in range(100)]


def test_a_pool_runs_where_there_are_gpus(client: Client, cluster: Cluster):
    with client.pool(workers=2, gpus=1, cpus=0.1) as pool:
        assert set(pool.map(node_of, range(8))) == {cluster.workers()[1]}


def test_a_pool_that_is_closed_leaves_no_pods(client: Client, release: Release):
    with client.pool(workers=2, cpus=0.1, name="leaves") as pool:
        assert list(pool.map(abs, [-1, -2])) == [1, 2]
        name = pool.id.replace("_", "-").lower()
    eventually_now(lambda: name not in release.kubectl("get", "pods", "-o", "name"))
