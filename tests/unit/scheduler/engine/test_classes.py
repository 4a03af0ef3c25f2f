"""Classes: shared by jobs alike, gone with the last."""

from __future__ import annotations

import pytest
from gridloom_services.scheduler.engine import EngineError
from gridloom_services.scheduler.engine import events as ev
from gridloom_services.scheduler.engine.classes import Role, shape_of
from gridloom_services.scheduler.engine.columns import Resources

from tests.unit.scheduler.engine.build import Cluster, role


def classes(cluster):
    return cluster.engine._state.classes


def test_jobs_that_ask_alike_share_a_class():
    cluster = Cluster(4)
    cluster.submit("a", role(cpu=1, memory=2))
    cluster.submit("b", role(memory=2, cpu=1))
    cluster.submit("c", role(memory=2, cpu=1), selector={"zone": "x"})
    assert len(classes(cluster)) == 2


def test_a_class_goes_with_its_last_job_whether_that_ran_or_not():
    cluster = Cluster(4)
    for number in range(200):
        cluster.submit(f"w{number}", role(cpu=number + 10), selector={"n": str(number)})
        cluster.tell(ev.JobWithdrawn(f"w{number}"))
    cluster.submit("r", role(4, 1, cpu=1))
    cluster.cycle()
    cluster.cycle()
    cluster.tell(ev.Ended("r", 0, 1))
    assert len(classes(cluster)) == 0
    assert classes(cluster).size <= 2
    assert classes(cluster)._selectors == {}
    assert {selector for selector, _ in cluster.engine._state.nodes._masks} <= {()}


def test_roles_are_placed_hardest_first_whatever_their_order():
    resources = Resources()

    def order(*needs):
        roles = [Role(f"r{i}", 1, 1, resources.need(need)) for i, need in enumerate(needs)]
        return shape_of(resources, roles, ()).order

    assert order({"cpu": 8}, {"x.io/gpu": 1}, {"cpu": 9}) == (1, 2, 0)
    assert order({"memory": 1}, {"memory": 2}, {"licence": 5}) == (1, 0, 2)
    assert order({"cpu": 1}, {"cpu": 1}) == (0, 1)


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ((), "1 to"),
        ((role(), role()), "same name"),
        ((role(0),), "min_replicas 0 and replicas 0"),
        ((role(2, 3),), "min_replicas 3"),
        ((role(2**20 + 1),), "replicas"),
        ((role(cpu=-1),), "'cpu'"),
        ((role(2**20, cpu=2**45),), "in all"),
    ],
)
def test_a_gang_that_makes_no_sense_is_refused_and_changes_nothing(roles, message):
    cluster = Cluster(4)
    before = cluster.engine.snapshot()
    with pytest.raises(EngineError, match=message):
        cluster.tell(ev.JobSubmitted("a", "p/q", 0, 1, roles, 10))
    assert cluster.engine.snapshot() == before
    assert len(classes(cluster)) == 0
