import pytest
from gridloom_services.functions.call import stored_id
from gridloom_services.functions.holds import Holds, MemoryObjects
from gridloom_services.functions.retention import Retention
from gridloom_services.functions.store.memory import MemoryCallStore
from gridloom_services.functions.store.rows import (
    Changes,
    GroupRow,
    HoldRow,
    Reads,
    ResultQuery,
    ResultRow,
    SessionRow,
)


@pytest.fixture
async def store():
    made = MemoryCallStore()
    await made.open()
    session = SessionRow(1, b"k", "n", "p", "o", "", seen_at=1e9)
    group = stored_id(1, 1)
    results = [ResultRow(1, n, n, None, b"\x01", [b"v"], group, n, 0.0) for n in range(1, 501)]
    counts = (500, 500, 0, 0)
    times = {"created_at": 0.0, "ended_at": 100.0}
    row = GroupRow(group, "", "map", "p", "f", *counts, sealed=True, **times)
    holds = [HoldRow(stored_id(1, 3), "group_n_1", ("x",))]
    changes = Changes(new_sessions=[session], groups=[row], results=results, holds=holds)
    made.commit(changes, Reads(), lambda _: None)
    return made


async def test_a_sweep_removes_all_that_is_old_and_names_its_objects(store):
    holds = Holds(MemoryObjects(), lambda _: None)
    retention = Retention(store, holds, keep_s=50.0, every_s=60.0, clock=lambda: 200.0)
    assert await retention.sweep() >= 501
    assert await store.results(ResultQuery(1, 0)) == []
    assert not holds.is_idle


async def test_a_sweep_leaves_what_is_young(store):
    holds = Holds(MemoryObjects(), lambda _: None)
    retention = Retention(store, holds, keep_s=150.0, every_s=60.0, clock=lambda: 200.0)
    assert await retention.sweep() == 0
    assert len(await store.results(ResultQuery(1, 0))) == 500
