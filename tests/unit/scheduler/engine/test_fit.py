"""Placement: which nodes a gang gets."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from gridloom_services.scheduler.engine import events as ev
from gridloom_services.scheduler.engine.errors import EngineError
from gridloom_services.scheduler.engine.fit import pick, role_place
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scheduler.engine.build import Cluster, nodes_of, role

bounded = settings(max_examples=50, deadline=None)


def placement(cluster):
    [start] = cluster.cycle().starts
    return nodes_of(start.placement)


def test_a_single_replica_goes_to_the_fullest_node_that_holds_it():
    cluster = Cluster(8, 8, 8)
    cluster.tell(ev.NodeSet("n1", {"cpu": 6}), ev.NodeSet("n2", {"cpu": 2}))
    cluster.submit("a", role(cpu=3))
    cluster.submit("b", role(cpu=3))
    cluster.cycle()
    cluster.submit("c", role(cpu=1))
    assert placement(cluster) == ["n0"]


def test_equally_full_nodes_are_taken_by_name():
    cluster = Cluster()
    cluster.tell(*(ev.NodeSet(name, {"cpu": 2}) for name in ("c", "a", "b")))
    cluster.submit("x", role(2, cpu=2))
    assert placement(cluster) == ["a", "b"]


def test_a_gang_takes_as_few_nodes_as_it_can():
    cluster = Cluster(2, 8, 4, 8)
    cluster.submit("a", role(12, cpu=1))
    assert placement(cluster) == ["n1"] * 8 + ["n2"] * 4


def test_indices_run_along_nodes_in_the_order_of_their_names():
    cluster = Cluster(2, 3)
    cluster.submit("a", role(5, cpu=1))
    [start] = cluster.cycle().starts
    assert [(a.index, a.node) for a in start.placement] == [
        (0, "n0"),
        (1, "n0"),
        (2, "n1"),
        (3, "n1"),
        (4, "n1"),
    ]


def test_a_second_role_joins_the_nodes_of_the_first():
    cluster = Cluster(8, 8, 8)
    cluster.submit("a", role(1, name="head", cpu=1), role(2, name="worker", cpu=4))
    [start] = cluster.cycle().starts
    assert {a.node for a in start.placement if a.role == "worker"} == {"n0"}
    assert [a.node for a in start.placement if a.role == "head"] == ["n1"]
    cluster.submit("b", role(1, name="head", cpu=1), role(2, name="worker", cpu=2))
    [start] = cluster.cycle().starts
    assert set(nodes_of(start.placement)) == {"n1"}


def test_a_node_takes_a_whole_share_or_nothing():
    cluster = Cluster(8, 3, 2, 1)
    cluster.submit("a", role(5, per_node=2))
    [start] = cluster.cycle().starts
    assert sorted(Counter(nodes_of(start.placement)).items()) == [("n0", 2), ("n1", 2), ("n2", 1)]


def test_a_share_that_no_node_holds_waits_for_ever():
    cluster = Cluster(2, 2, 2)
    cluster.submit("a", role(4, per_node=3))
    assert not cluster.cycle().starts


def test_only_replicas_that_start_together_have_a_share():
    cluster = Cluster(8)
    with pytest.raises(EngineError, match="per_node 2"):
        cluster.submit("a", role(4, 2, per_node=2))


def test_a_role_that_asks_for_nothing_goes_with_the_others():
    cluster = Cluster(4, 4)
    cluster.submit("a", ev.RoleRequest("light", 3, 0, {}), role(1, name="heavy", cpu=4))
    [start] = cluster.cycle().starts
    assert set(nodes_of(start.placement)) == {"n0"}


def brute(counts, wanted, pack):
    """The rule, one node at a time."""
    left, found = dict(enumerate(counts)), []
    while wanted and left:
        node = min(left, key=lambda n: (-min(left[n], wanted), pack[n]))
        some = min(left.pop(node), wanted)
        found.append((node, some))
        wanted -= some
    return found


@bounded
@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 3)), min_size=1, max_size=80), st.data()
)
def test_picking_nodes_follows_the_rule_one_by_one(nodes, data):
    counts = np.array([count for count, _ in nodes])
    pack = np.array([fullness << 24 | rank for rank, (_, fullness) in enumerate(nodes)])
    wanted = data.draw(st.integers(1, int(counts.sum()) + 2))
    assert pick(np.arange(counts.size), counts, wanted, pack) == brute(counts, wanted, pack)


def test_nodes_that_are_held_come_first_even_when_others_hold_more():
    avail = np.array([[2, 9, 9]])
    pack = np.array([2, 0, 1])
    allowed = np.ones(3, np.bool_)
    assert role_place(avail, ((0, 1),), 5, allowed, pack, [0]) == [(0, 2), (1, 3)]
    assert role_place(avail, ((0, 1),), 1, allowed, pack, [2]) == [(2, 1)]
    assert role_place(avail, ((0, 10),), 1, allowed, pack, [2]) is None
