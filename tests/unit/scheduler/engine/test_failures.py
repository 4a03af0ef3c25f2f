"""Failures: what one failure says about other classes, and what a pass over all says."""

from __future__ import annotations

import numpy as np
from gridloom_services.scheduler.engine import events as ev
from gridloom_services.scheduler.engine.columns import FAR
from gridloom_services.scheduler.engine.failures import Failures
from gridloom_services.scheduler.engine.fit import total_count
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scheduler.engine.build import Cluster, role


def failures_of(cluster):
    """Failures beside the row of each job's class, all of them in focus for any end."""
    state, reaches = cluster.engine._state, cluster.engine._reaches
    reaches.learn()
    failures = Failures(state.classes, reaches)
    rows = {job: state.jobs.klass[row] for job, row in state.jobs.rows.items()}
    classes = np.array(list(rows.values()))
    failures.focus(classes, np.zeros_like(classes))
    return failures, rows


def test_a_failure_holds_for_every_later_end():
    cluster = Cluster(4)
    cluster.submit("a")
    failures, rows = failures_of(cluster)
    failures.add(rows["a"], 50)
    assert not failures.stops(rows["a"], 49)
    assert failures.stops(rows["a"], 50)
    failures.add(rows["a"], 70)
    assert failures.stops(rows["a"], 60)


def test_a_failure_stops_whoever_asks_at_least_as_much_of_the_same_nodes():
    cluster = Cluster()
    cluster.tell(
        ev.NodeSet("n0", {"cpu": 9, "memory": 9}),
        ev.NodeSet("gpu", {"cpu": 9, "x.io/gpu": 2}, {"zone": "x"}),
    )
    cluster.submit("a", role(2, cpu=2))
    cluster.submit("more", role(2, cpu=3, memory=1))
    cluster.submit("wider", role(3, cpu=2))
    cluster.submit("fewer", role(1, cpu=3))
    cluster.submit("less", role(2, cpu=1))
    cluster.submit("elsewhere", role(2, cpu=2), selector={"zone": "x"})
    cluster.submit("devices", ev.RoleRequest("main", 2, 2, {"cpu": 2, "x.io/gpu": 1}))
    cluster.submit("two", role(2, cpu=2), role(1, name="b"))
    failures, rows = failures_of(cluster)
    failures.add(rows["a"], 50)
    stopped = {job for job, row in rows.items() if failures.stops(row, 50)}
    assert stopped == {"a", "more", "wider"}


def test_classes_out_of_focus_are_left_alone():
    cluster = Cluster(9)
    cluster.submit("a", role(cpu=1))
    cluster.submit("b", role(cpu=2))
    failures, rows = failures_of(cluster)
    failures.focus(np.array([rows["a"]]), np.array([10]))
    failures.add(rows["a"], 0)
    assert failures.stops(rows["a"], 0)
    assert not failures.stops(rows["b"], 0)


amounts = st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 2))
WORTH_A_PASS = 64


@settings(max_examples=40, deadline=None)
@given(st.lists(amounts, max_size=12), st.lists(amounts, min_size=1, max_size=6))
def test_a_pass_rules_out_only_what_no_node_has_room_for(asked, left):
    cluster = Cluster()
    cluster.tell(*(ev.NodeSet(f"n{i}", {"a": 999, "b": 9, "c": 9}) for i in range(len(left))))
    for number in range(WORTH_A_PASS):
        cluster.submit(f"many{number}", role(a=100 + number))
    for number, (one, two, three) in enumerate(asked):
        cluster.submit(f"j{number}", role(a=one, b=two, c=three))
    failures, rows = failures_of(cluster)
    classes, resources = cluster.engine._state.classes, cluster.engine._state.resources
    avail = np.zeros((len(resources.names), len(left)), np.int64)
    for name, column in zip("abc", zip(*left, strict=True), strict=True):
        avail[resources.number(name)] = column
    failures.rule_out(avail, -FAR)
    everywhere = np.ones(len(left), np.bool_)
    for row in rows.values():
        asks = classes.shape(row).roles[0]
        fits = total_count(avail, asks, everywhere) > 0
        assert not (fits and failures.stops(row, 0))
        if len(asks.need) <= 2:
            assert fits or failures.stops(row, 0)
