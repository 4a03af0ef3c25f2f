"""The state as plain values."""

from __future__ import annotations

from gridloom_services.scheduler.engine import events as ev
from gridloom_services.scheduler.engine.decisions import NodeState, QueueState

from tests.unit.scheduler.engine.build import QUEUE, Cluster, role


def test_nodes_are_shown_by_name_with_what_they_have_and_have_left():
    cluster = Cluster()
    cluster.tell(
        ev.NodeSet("b", {"cpu": 4, "x.io/gpu": 2}, {"zone": "x"}),
        ev.NodeSet("a", {"cpu": 2}, schedulable=False),
    )
    cluster.submit("j", ev.RoleRequest("main", 1, 0, {"cpu": 4, "x.io/gpu": 1}))
    cluster.cycle()
    assert cluster.engine.nodes() == (
        NodeState("a", {"cpu": 2}, {"cpu": 2}, {}, schedulable=False),
        NodeState("b", {"cpu": 4, "x.io/gpu": 2}, {"cpu": 0, "x.io/gpu": 1}, {"zone": "x"}),
    )
    assert cluster.engine.free() == {"cpu": 0, "x.io/gpu": 1}
    assert cluster.engine.capacity() == {"cpu": 4, "x.io/gpu": 2}


def test_queues_are_shown_with_use_counts_and_rules():
    cluster = Cluster(2)
    cluster.tell(ev.QueueSet(QUEUE, 3, {"cpu": 9, "memory": 0}, closed=False))
    cluster.submit("a", role(cpu=2), elements=3)
    cluster.cycle()
    assert cluster.engine.queues() == {
        QUEUE: QueueState({"cpu": 2}, 2, 1, 3, {"cpu": 9, "memory": 0})
    }


def test_a_snapshot_tells_states_apart_that_plan_differently():
    one, other = Cluster(4), Cluster(4)
    assert one.engine.snapshot() == other.engine.snapshot()
    one.submit("a")
    other.submit("a", priority=1)
    assert one.engine.snapshot() != other.engine.snapshot()
