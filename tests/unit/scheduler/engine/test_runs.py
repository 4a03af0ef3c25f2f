"""Run-length sets of positions."""

from __future__ import annotations

from itertools import pairwise

from gridloom_services.scheduler.engine.runs import Runs, grouped
from hypothesis import given, settings
from hypothesis import strategies as st

bounded = settings(max_examples=50, deadline=None)

positions = st.integers(0, 30)
changes = st.lists(st.tuples(st.sampled_from(("add", "remove")), positions, st.integers(0, 6)))


@bounded
@given(changes)
def test_runs_hold_what_a_set_would(steps):
    runs, held = Runs(), set()
    for what, first, count in steps:
        if what == "add":
            new = set(range(first, first + count)) - held
            assert runs.add(first, count) == len(new)
            held |= new
        else:
            assert runs.remove(first) == (first in held)
            held.discard(first)
        assert list(runs) == sorted(held)
        assert len(runs) == len(held)
        assert all((position in runs) == (position in held) for position in range(40))


@bounded
@given(changes)
def test_neighbouring_runs_are_one(steps):
    runs = Runs()
    for what, first, count in steps:
        runs.add(first, count) if what == "add" else runs.remove(first)
    pairs = runs.pairs()
    assert all(a + n < b for (a, n), (b, _) in pairwise(pairs))
    assert Runs(pairs).pairs() == pairs


@bounded
@given(st.lists(positions))
def test_grouping_keeps_every_position_in_order(some):
    assert [first + i for first, count in grouped(some) for i in range(count)] == some


def test_a_range_is_one_run_whatever_its_length():
    assert list(grouped(range(5, 10**9))) == [(5, 10**9 - 5)]
    assert list(grouped(range(0))) == []
