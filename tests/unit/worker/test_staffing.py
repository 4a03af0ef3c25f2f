"""How many workers there should be."""

from __future__ import annotations

import pytest
from gridloom.worker.staffing import MOST_EXTRA, Grants, Member, staff_changes
from hypothesis import given
from hypothesis import strategies as st


def members(*states):
    return [Member(pid, busy=state == "busy") for pid, state in enumerate(states, 100)]


def grants(granted, known=None, asked=None, extra=0):
    return Grants(frozenset(granted), frozenset(granted if known is None else known), asked, extra)


@pytest.mark.parametrize(
    ("allowed", "asked", "extra", "present", "forked"),
    [
        (3, None, 0, 0, 3),
        (3, None, 0, 2, 1),
        (3, None, 0, 3, 0),
        (3, 1, 0, 0, 1),
        (3, 9, 0, 0, 3),
        (3, 0, 0, 0, 0),
        (2, None, 1, 2, 1),
        (0, None, 0, 0, 0),
    ],
)
def test_missing_workers_are_forked(allowed, asked, extra, present, forked):
    changes = staff_changes(
        grants(range(allowed), asked=asked, extra=extra), members(*["idle"] * present)
    )
    assert (changes.fork, changes.retire) == (forked, ())


def test_idle_workers_go_before_busy_ones_and_the_youngest_first():
    changes = staff_changes(grants([0, 1]), members("busy", "idle", "idle", "busy"))
    assert changes.retire == (102, 101)


def test_a_busy_worker_goes_where_there_is_no_idle_one():
    assert staff_changes(grants([]), members("busy")).retire == (100,)


def test_extra_workers_are_bounded():
    assert staff_changes(grants([0], extra=10**6), []).fork == 1 + MOST_EXTRA


def test_a_replica_is_over_when_nobody_uses_its_share():
    taken_away = grants([0], known=[0, 1])
    assert staff_changes(taken_away, members("idle"), retiring=1).over == ()
    assert staff_changes(taken_away, members("idle")).over == (1,)


def test_a_replica_that_never_had_a_worker_is_over_at_once():
    assert staff_changes(grants([0, 2], known=[0, 1, 2], asked=0), []).over == (1,)


@given(
    st.sets(st.integers(0, 8)),
    st.sets(st.integers(0, 8)),
    st.none() | st.integers(0, 10),
    st.integers(0, 5),
    st.lists(st.sampled_from(["busy", "idle"]), max_size=12),
    st.integers(0, 3),
)
def test_the_staff_is_right_after_the_changes(granted, gone, asked, extra, states, retiring):
    given_grants = Grants(granted, granted | gone, asked, extra)
    present = members(*states)
    changes = staff_changes(given_grants, present, retiring)
    assert len(present) + changes.fork - len(changes.retire) == given_grants.size
    assert not (changes.fork and changes.retire)
    assert not set(changes.over) & granted
    living = len(present) + retiring - extra
    assert len(granted | gone) - len(changes.over) >= min(living, len(granted | gone))
