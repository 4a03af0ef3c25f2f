"""The earliest start beside what is promised."""

from __future__ import annotations

from gridloom_services.scheduler.engine.classes import Role, shape_of
from gridloom_services.scheduler.engine.columns import Resources
from gridloom_services.scheduler.engine.earliest import Request, earliest
from gridloom_services.scheduler.engine.profile import Profile
from gridloom_services.scheduler.engine.promises import Pledge
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scheduler.engine.build import Cluster, role

NODES = 3


def busy(jobs):
    """A profile of nodes of 6 cpus on which jobs of (cpus, limit) run."""
    cluster = Cluster(*(6 for _ in range(NODES)))
    for number, (cpu, limit) in enumerate(jobs):
        cluster.submit(f"j{number}", role(cpu=cpu), limit=limit)
    cluster.cycle()
    state = cluster.engine._state
    return Profile(state.nodes, state.entries, 0), state.nodes.usable()


def request(allowed, limit, *roles):
    resources = Resources()
    asked = [
        Role(f"r{i}", count, count, resources.need({"cpu": cpu}))
        for i, (count, cpu) in enumerate(roles)
    ]
    return Request(shape_of(resources, asked, ()), allowed, limit)


def pledge(profile, node, cpu, start, length):
    spread = [(node, ((0, cpu),))]
    return Pledge(node, 0, start, start + length, [], spread, profile.free_at(start))


def test_it_is_the_first_release_that_makes_enough_room():
    profile, allowed = busy([(6, 10), (6, 20), (6, 30)])
    assert earliest(profile, [], request(allowed, 5, (1, 6)), 1) == (10, [(0, 0, 1)])
    found = earliest(profile, [], request(allowed, 5, (2, 6)), 1)
    assert found == (20, [(0, 0, 1), (1, 0, 1)])


def test_it_is_none_before_the_given_time():
    profile, allowed = busy([(6, 10), (6, 20), (6, 30)])
    assert earliest(profile, [], request(allowed, 5, (2, 6)), 0, before=20) is None


def test_it_is_none_where_no_release_will_do():
    profile, allowed = busy([(6, 10)])
    assert earliest(profile, [], request(allowed, 5, (4, 6)), 1) is None
    assert earliest(profile, [], request(allowed, 5, (1, 7)), 1) is None


def test_short_work_goes_before_a_promise_and_long_work_after_it():
    profile, allowed = busy([(6, 10), (6, 100), (6, 100)])
    promised = [pledge(profile, 0, 6, 15, 10)]
    assert earliest(profile, promised, request(allowed, 5, (1, 6)), 1) == (10, [(0, 0, 1)])
    assert earliest(profile, promised, request(allowed, 6, (1, 6)), 1) == (25, [(0, 0, 1)])


def test_several_roles_wait_until_all_of_them_fit():
    profile, allowed = busy([(6, 10), (6, 20), (6, 30)])
    start, picks = earliest(profile, [], request(allowed, 5, (1, 4), (3, 3)), 1)
    assert start == 30
    assert sorted(picks) == [(0, 0, 1), (1, 1, 2), (2, 1, 1)]


jobs = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 12)), max_size=8)
promises = st.lists(
    st.tuples(st.integers(0, NODES - 1), st.integers(1, 3), st.integers(1, 15), st.integers(1, 6)),
    max_size=3,
)


@settings(max_examples=60, deadline=None)
@given(jobs, promises, st.integers(1, 4), st.integers(1, 6), st.integers(1, 8))
def test_no_earlier_second_would_do(jobs, promises, count, cpu, limit):
    profile, allowed = busy(jobs)
    promised = [pledge(profile, *promise) for promise in promises]

    def fits(start):
        frees = []
        for time in range(start, start + limit):
            free = profile.free_at(time)[0]
            for one in promised:
                if one.covers(time):
                    for node, ((_, amount),) in one.spread:
                        free[node] -= amount
            frees.append(free)
        return sum(max(0, min(int(f[n]) for f in frees)) // cpu for n in range(NODES)) >= count

    expected = next((start for start in range(1, 60) if fits(start)), None)
    found = earliest(profile, promised, request(allowed, limit, (count, cpu)), 1)
    assert (None if found is None else found[0]) == expected
