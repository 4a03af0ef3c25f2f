"""How many workers a pool should have."""

from gridloom_services.functions.pools.sizing import Demand, PoolLoad, most_workers, sizing
from gridloom_services.functions.pools.spec import PoolSpec
from hypothesis import given
from hypothesis import strategies as st

SPEC = PoolSpec(b"", "default", resources={"cpu": 1000}, idle_timeout_s=60.0)
ROOM = Demand(capacity={"cpu": 4000, "memory": 8 << 30})


def size(load: PoolLoad, demand: Demand = ROOM, spec: PoolSpec = SPEC, now: float = 0.0):
    return sizing(spec, load, demand, now, most_workers(spec, demand))


def test_a_pool_without_work_and_workers_stays_empty():
    assert size(PoolLoad()).workers == 0


def test_work_brings_a_worker_for_each_call_up_to_the_platforms_room():
    assert size(PoolLoad(waiting=1)).workers == 1
    assert size(PoolLoad(waiting=3)).workers == 3
    assert size(PoolLoad(waiting=100)).workers == 4


def test_the_scarcest_resource_bounds_a_pool_that_names_no_number():
    spec = PoolSpec(b"", "p", resources={"cpu": 1000, "memory": 3 << 30})
    assert most_workers(spec, ROOM) == 2


def test_a_number_asked_for_counts_more_than_the_room():
    assert most_workers(PoolSpec(b"", "p", workers=9), ROOM) == 9


def test_slots_are_filled_before_there_are_more_workers():
    spec = PoolSpec(b"", "p", slots=32, resources={"cpu": 1000})
    assert size(PoolLoad(waiting=32), spec=spec).workers == 1
    assert size(PoolLoad(waiting=33), spec=spec).workers == 2


def test_an_idle_worker_stays_for_the_idle_time_and_not_longer():
    load = PoolLoad(workers=2, idle_since=(10.0, 40.0))
    early = size(load, now=50.0)
    assert (early.workers, early.look_again_at) == (2, 70.0)
    later = size(load, now=70.0)
    assert (later.workers, later.look_again_at) == (1, 100.0)
    assert size(load, now=100.0).workers == 0


def test_idle_workers_leave_at_once_while_others_wait():
    load = PoolLoad(running=1, workers=3, idle_since=(10.0, 10.0))
    assert size(load, Demand(1, ROOM.capacity), now=11.0).workers == 1


def test_workers_that_were_asked_for_stay_though_idle_unless_others_wait():
    spec = PoolSpec(b"", "p", min_workers=2, resources={"cpu": 1000}, idle_timeout_s=1.0)
    load = PoolLoad(workers=2, idle_since=(0.0, 0.0))
    assert size(load, spec=spec, now=100.0).workers == 2
    assert size(load, Demand(1, ROOM.capacity), spec, now=100.0).workers == 0


@given(
    st.integers(0, 1000), st.integers(0, 100), st.integers(0, 8), st.integers(0, 8), st.booleans()
)
def test_the_size_is_within_its_bounds_and_work_never_waits_for_ever(
    waiting, running, busy, idle, others
):
    load = PoolLoad(waiting, running, busy + idle, tuple(float(i) for i in range(idle)))
    wanted = size(load, Demand(int(others), ROOM.capacity), now=100.0)
    assert 0 <= wanted.workers <= max(4, busy + idle)
    assert wanted.workers >= 1 or not waiting
    assert wanted.workers >= min(busy, 4) or not waiting
