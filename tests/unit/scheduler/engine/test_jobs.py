"""The order of turns, and arrays."""

from __future__ import annotations

from gridloom_services.scheduler.engine import events as ev
from gridloom_services.scheduler.engine.jobs import JobTable
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scheduler.engine.build import Cluster

bounded = settings(max_examples=50, deadline=None)

wide = st.integers(-(2**31), 2**31)
narrow = st.integers(-3, 3)


@bounded
@given(st.lists(st.tuples(st.one_of(wide, narrow), st.integers(0, 2**60)), max_size=40))
def test_turns_go_by_priority_and_then_by_age(keys):
    jobs = JobTable()
    for number, (priority, sequence) in enumerate(keys):
        row = jobs.add(f"j{number}", 0)
        jobs.priority[row], jobs.sequence[row], jobs.pending[row] = priority, sequence, 1
    turns = [(-jobs.priority[row], jobs.sequence[row]) for row in jobs.order().tolist()]
    assert turns == sorted((-priority, sequence) for priority, sequence in keys)


def test_the_order_is_found_anew_only_when_something_new_waits():
    cluster = Cluster(1)
    cluster.submit("a")
    cluster.submit("b")
    jobs = cluster.engine._state.jobs
    order = jobs.order()
    cluster.cycle()
    assert jobs.order() is order
    cluster.submit("c")
    assert jobs.order() is not order


def test_an_array_starts_its_elements_in_order_and_is_one_row():
    cluster = Cluster(3)
    cluster.submit("a", elements=100_000)
    assert [start.element for start in cluster.cycle().starts] == [0, 1, 2]
    cluster.tell(ev.Ended("a", 1, 5))
    assert [start.element for start in cluster.cycle(5).starts] == [3]
    assert cluster.engine._state.jobs.size == 1
    assert cluster.engine.snapshot().jobs["a"].waiting == ((4, 99_996),)


def test_only_so_many_elements_of_an_array_run_at_once():
    cluster = Cluster(8)
    cluster.submit("a", elements=10, max_parallel=2)
    assert len(cluster.cycle().starts) == 2
    assert cluster.cycle().starts == ()
    cluster.tell(ev.Ended("a", 0, 1))
    assert len(cluster.cycle(1).starts) == 1


def test_an_array_that_may_not_start_more_is_promised_nothing_and_blocks_nobody():
    cluster = Cluster(4)
    cluster.submit("a", elements=10, max_parallel=4)
    cluster.cycle()
    cluster.tell(ev.NodeSet("n1", {"cpu": 1}))
    cluster.submit("b")
    decisions = cluster.cycle()
    assert [start.job for start in decisions.starts] == ["b"]
    assert decisions.promises == ()


def test_a_returned_element_comes_before_later_ones():
    cluster = Cluster(2, reservations=0)
    cluster.submit("a", elements=5)
    cluster.cycle()
    cluster.tell(ev.Ended("a", 0, 1), ev.ElementsReturned("a", (0,)), ev.Ended("a", 1, 1))
    assert [start.element for start in cluster.cycle(1).starts] == [0, 2]


def test_only_the_elements_that_wait_are_started():
    cluster = Cluster(8)
    cluster.submit("a", elements=10, waiting=((2, 1), (7, 2)))
    cluster.tell(ev.ElementsWithdrawn("a", range(8, 10)))
    assert [start.element for start in cluster.cycle().starts] == [2, 7]
