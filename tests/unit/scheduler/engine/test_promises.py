"""Layers: what promises leave to work that ends at some time."""

from __future__ import annotations

from gridloom_services.scheduler.engine.profile import Profile
from gridloom_services.scheduler.engine.promises import Pledge, Pledges
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scheduler.engine.build import Cluster, role

bounded = settings(max_examples=50, deadline=None)

NODES = 3
spreads = st.lists(
    st.tuples(st.integers(0, NODES - 1), st.integers(1, 3)), max_size=2, unique_by=lambda s: s[0]
).map(lambda pairs: [(node, ((0, amount),)) for node, amount in pairs])
spans = st.tuples(st.integers(0, 12), st.integers(1, 8))
steps = st.lists(st.tuples(st.sampled_from(("promise", "start", "drop")), spans, spreads))


def busy():
    """A profile of nodes of 9 cpus on which work ends at 3, 6 and 9."""
    cluster = Cluster(*(9 for _ in range(NODES)))
    for limit in (3, 6, 9):
        cluster.submit(f"j{limit}", role(cpu=4), limit=limit)
    cluster.cycle()
    state = cluster.engine._state
    return Profile(state.nodes, state.entries, 0)


def left(profile, pledges, time):
    """What is free at a time less what is promised then, by node."""
    free = profile.free_at(time)[0].tolist() if time else profile.free[0].tolist()
    for pledge in pledges:
        if pledge.covers(time):
            for node, ((_, amount),) in pledge.spread:
                free[node] -= amount
    return free


def least(profile, pledges, end):
    """The least of that over now and every promised start before `end`."""
    points = [profile.free[0].tolist()]
    points += [left(profile, pledges, pledge.start) for pledge in pledges if pledge.start < end]
    return [min(at) for at in zip(*points, strict=True)]


@bounded
@given(steps)
def test_layers_are_the_least_that_is_left_at_any_promised_start(steps):
    profile = busy()
    pledges = Pledges(profile)
    for number, (what, (start, length), spread) in enumerate(steps):
        if what == "promise":
            base = profile.free_at(start)
            pledges.add(Pledge(number, 0, start, start + length, [], spread, base))
        elif what == "start":
            pledges.take(spread, length)
        elif len(pledges):
            pledges.remove(next(iter(pledges)))
        for end in (1, 2, 5, 9, 14, 25):
            assert pledges.avail(end)[0][0].tolist() == least(profile, pledges, end)


@bounded
@given(steps, spans, spreads)
def test_a_promise_fits_where_every_moment_has_room_beside_the_others(steps, span, spread):
    profile = busy()
    pledges = Pledges(profile)
    for number, (_, (start, length), other) in enumerate(steps[:4]):
        base = profile.free_at(start)
        pledges.add(Pledge(number, 0, start, start + length, [], other, base))
    start, end = span[0] + 1, span[0] + 1 + span[1]
    fits = all(
        left(profile, pledges, time)[node] >= amount
        for time in range(start, end)
        for node, ((_, amount),) in spread
    )
    assert pledges.fits(spread, start, end, profile.free_at(start)) == fits


def test_the_same_room_is_named_by_the_earliest_end_that_has_it():
    profile = busy()
    pledges = Pledges(profile)
    for number, start in enumerate((4, 8)):
        spread = [(0, ((0, 1),))]
        base = profile.free_at(start)
        pledges.add(Pledge(number, 0, start, start + 1, [], spread, base))
    assert pledges.avail(4)[1] < 0
    assert pledges.avail(5)[1] == 5
    assert pledges.avail(8)[1] == 5
    assert pledges.avail(100)[1] == 9
