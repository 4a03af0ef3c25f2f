"""Nodes: capacity, labels, departure."""

from __future__ import annotations

import pytest
from gridloom_services.scheduler.engine import EngineError
from gridloom_services.scheduler.engine import events as ev

from tests.unit.scheduler.engine.build import Cluster, nodes_of, role


def free_of(cluster):
    return {node.name: dict(node.free) for node in cluster.engine.nodes()}


def test_what_runs_stays_accounted_for_when_a_node_changes():
    cluster = Cluster(4)
    cluster.submit("a", role(cpu=3))
    cluster.cycle()
    cluster.tell(ev.NodeSet("n0", {"cpu": 8, "memory": 2}))
    assert free_of(cluster) == {"n0": {"cpu": 5, "memory": 2}}
    cluster.tell(ev.NodeSet("n0", {"cpu": 2}))
    assert free_of(cluster) == {"n0": {"cpu": -1}}
    assert cluster.engine.free() == {"cpu": 0}


def test_a_cordoned_node_keeps_its_work_and_gets_no_more():
    cluster = Cluster(4)
    cluster.submit("a")
    cluster.cycle()
    cluster.tell(ev.NodeSet("n0", {"cpu": 4}, schedulable=False))
    cluster.submit("b")
    assert cluster.started() == []
    assert cluster.engine.free() == {}
    cluster.tell(ev.NodeSet("n0", {"cpu": 4}))
    assert cluster.started() == ["b"]


def test_a_node_that_left_is_remembered_until_its_work_has_ended():
    cluster = Cluster(4)
    cluster.submit("a", role(cpu=3))
    cluster.cycle()
    cluster.tell(ev.NodeRemoved("n0"))
    assert cluster.engine.nodes() == ()
    assert cluster.used() == {"cpu": 3}
    cluster.tell(ev.NodeSet("n0", {"cpu": 4}))
    assert free_of(cluster) == {"n0": {"cpu": 1}}
    cluster.tell(ev.NodeRemoved("n0"), ev.Ended("a", 0, 5))
    assert cluster.used() == {}
    assert cluster.engine._state.nodes.rows == {}


def test_rows_of_nodes_that_left_are_used_again():
    cluster = Cluster()
    for number in range(50):
        cluster.tell(ev.NodeSet(f"spot-{number}", {"cpu": number}))
        cluster.tell(ev.NodeRemoved(f"spot-{number}"))
    assert cluster.engine._state.nodes.size == 1
    assert len(cluster.engine._state.nodes.kinds.capacities) <= 2


def test_an_unknown_node_cannot_leave():
    with pytest.raises(EngineError, match="'n7'"):
        Cluster(1).tell(ev.NodeRemoved("n7"))


def test_a_gang_runs_only_where_every_label_is_carried():
    cluster = Cluster()
    cluster.tell(
        ev.NodeSet("a", {"cpu": 8}, {"zone": "x"}),
        ev.NodeSet("b", {"cpu": 8}, {"zone": "x", "disk": "ssd"}),
    )
    cluster.submit("j", role(2), selector={"zone": "x", "disk": "ssd"})
    [start] = cluster.cycle().starts
    assert nodes_of(start.placement) == ["b", "b"]
    cluster.submit("k", selector={"zone": "y"})
    cluster.tell(ev.NodeSet("a", {"cpu": 8}, {"zone": "y"}))
    [start] = cluster.cycle().starts
    assert nodes_of(start.placement) == ["a"]


def test_work_may_be_accounted_for_on_a_node_that_is_not_known():
    cluster = Cluster(4)
    cluster.submit("a", role(2, cpu=2))
    placement = tuple(ev.Assignment("main", i, "gone") for i in range(2))
    cluster.tell(ev.Started("a", 0, placement, 0))
    assert cluster.used() == {"cpu": 4}
    assert cluster.engine.free() == {"cpu": 4}
    cluster.tell(ev.Ended("a", 0, 1))
    assert cluster.used() == {}
