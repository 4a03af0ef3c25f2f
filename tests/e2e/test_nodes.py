"""A node is cut off from the network: its jobs begin anew elsewhere, and end once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from gridloom.jobs.states import JobState

from tests.e2e.machine.run import run
from tests.e2e.support.cutting import cut_off
from tests.support.eventually import eventually_now

if TYPE_CHECKING:
    from gridloom.client import Client
    from gridloom.jobs.handle import Job

    from tests.e2e.cluster.cluster import Cluster

# The first attempt goes on when nobody hears of it any more; the second need not be waited for.
_SAY = 'echo "$GRIDLOOM_ATTEMPT $GRIDLOOM_NODE" | tee who.txt'
_COMMAND = f"{_SAY}; test $GRIDLOOM_ATTEMPT -gt 1 || sleep 30"


def test_a_job_of_a_lost_node_runs_again_on_another(client: Client, cluster: Cluster):
    if not cluster.ours:
        pytest.skip("only a node of a cluster made here can be cut off")
    kept, lost = cluster.workers()[:2]
    smallest = min(node.capacity["cpu"] for node in client.nodes())
    share = {"cpus": smallest / 1000 * 0.55, "outputs": ["who.txt"]}
    jobs = [client.run(_COMMAND, shell=True, **share) for _ in range(2)]
    eventually_now(lambda: all(job.state is JobState.RUNNING for job in jobs))
    victim = next(job for job in jobs if _node_of(job) == lost)
    with cut_off(lost):
        assert victim.result(timeout="5m").exit_code == 0
        # Not a word of the lost node has come until now.
        assert list(victim.logs()) == [f"2 {kept}"]
    cluster.kubectl("wait", "--for=condition=Ready", f"node/{lost}", "--timeout=120s")
    eventually_now(lambda: not _containers_of(victim, lost))
    assert victim.outputs["who.txt"].read_text() == f"2 {kept}\n"
    assert victim.state is JobState.SUCCEEDED


def _containers_of(job: Job, node: str) -> str:
    """What of the job still runs on the node, by the node's own word."""
    name = job.id.replace("_", "-").lower()
    return run(["docker", "exec", node, "crictl", "pods", "-q", "--state=ready", "--name", name])


def _node_of(job: Job) -> str:
    eventually_now(lambda: list(job.logs()))
    return next(iter(job.logs())).split()[1]
