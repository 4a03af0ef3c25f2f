"""What is free now and later, and the nodes' order of use."""

from __future__ import annotations

import numpy as np
from gridloom_services.scheduler.engine import events as ev
from gridloom_services.scheduler.engine.profile import Profile, packed
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scheduler.engine.build import Cluster, role

bounded = settings(max_examples=50, deadline=None)


def profile(cluster, now=0):
    state = cluster.engine._state
    return Profile(state.nodes, state.entries, now)


def cpus(amounts):
    return amounts[0].tolist()


def running(*limits):
    """Nodes of 4 cpus, on each of which a job holds 3 until its limit."""
    cluster = Cluster(*(4 for _ in limits))
    for number, limit in enumerate(limits):
        cluster.submit(f"j{number}", role(cpu=3), limit=limit)
    cluster.cycle()
    return cluster


def test_work_gives_back_what_it_holds_at_its_limit():
    later = profile(running(10, 20))
    assert cpus(later.free) == [1, 1]
    assert cpus(later.free_at(9)) == [1, 1]
    assert cpus(later.free_at(10)) == [4, 1]
    assert cpus(later.free_at(25)) == [4, 4]


def test_work_beyond_its_limit_gives_back_a_second_from_now():
    later = profile(running(10, 20), now=15)
    assert cpus(later.free_at(15)) == [1, 1]
    assert cpus(later.free_at(16)) == [4, 1]


def test_what_starts_in_the_plan_is_given_back_too_and_the_state_stays():
    cluster = running(10, 20)
    later = profile(cluster)
    later.take([(0, ((0, 1),))], 15)
    assert cpus(later.free) == [0, 1]
    assert cpus(later.free_at(10)) == [3, 1]
    assert cpus(later.free_at(15)) == [4, 1]
    assert cpus(profile(cluster).free) == [1, 1]


def test_releases_stand_in_order_of_time_and_of_nodes():
    releases = profile(running(30, 10, 20)).releases()
    assert releases.ends.tolist() == [10, 20, 30]
    assert releases.nodes.tolist() == [1, 2, 0]
    assert releases.nodes[releases.by_node].tolist() == [0, 1, 2]
    assert releases.first.all()


def test_the_fullest_node_is_used_first_and_ties_go_by_name():
    cluster = Cluster()
    cluster.tell(*(ev.NodeSet(name, {"cpu": 4}) for name in ("b", "a", "c")))
    later = profile(cluster)
    rows = cluster.engine._state.nodes.rows
    later.take([(rows["c"], ((0, 2),))], 5)
    assert [int(row) for row in np.argsort(later.pack)] == [rows["c"], rows["a"], rows["b"]]


takes = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(1, 9)), max_size=12)


@bounded
@given(takes)
def test_the_order_of_use_follows_every_start(steps):
    cluster = Cluster(8, 8, 5, 16)
    later = profile(cluster)
    assert later.pack.size == 4
    for node, amount, end in steps:
        later.take([(node, ((0, amount),))], end)
        assert later.pack.tolist() == packed(later.free, cluster.engine._state.nodes).tolist()
