import asyncio
import hashlib

import pytest
from gridloom_services.common.errors import InvalidRequestError
from gridloom_services.functions.call import CallSpec, Function
from gridloom_services.functions.dispatch import Lane
from gridloom_services.functions.dispatch.estimate import Estimate
from gridloom_services.functions.functions import CACHE_BYTES, FunctionTable


def function(code=b"code"):
    return Function(hashlib.sha256(code).digest(), "f", code)


def lane_for(which):
    return Lane(1, "s", CallSpec(1, which.digest, "pool_a"), Estimate())


class Store:
    """Functions on disk, which take a moment to read."""

    def __init__(self, *known):
        self.known = {one.digest: one for one in known}
        self.reads = 0

    async def read(self, digest):
        self.reads += 1
        await asyncio.sleep(0)
        return self.known.get(digest)


@pytest.fixture
async def table():
    tasks = []

    def make(*known):
        ready, missing = [], []
        store = Store(*known)

        def spawn(work):
            tasks.append(asyncio.create_task(work))

        return FunctionTable(store.read, spawn, ready.append, missing.append), store, ready, missing

    yield make
    await asyncio.gather(*tasks)


async def test_code_in_memory_is_there_at_once(table):
    functions, store, ready, _ = table()
    functions.define(function())
    lane = lane_for(function())
    functions.provide(lane)
    assert (lane.function, ready, store.reads) == (function(), [lane], 0)


async def test_code_on_disk_is_read_once_for_all_who_wait(table):
    functions, store, ready, _ = table(function())
    lanes = [lane_for(function()) for _ in range(3)]
    for lane in lanes:
        functions.provide(lane)
    await asyncio.sleep(0.01)
    assert store.reads == 1
    assert set(ready) == set(lanes)


async def test_lost_code_is_said_to_be_missing_until_it_is_sent(table):
    functions, _, ready, missing = table()
    lane = lane_for(function())
    functions.provide(lane)
    await asyncio.sleep(0.01)
    assert (missing, ready) == ([lane], [])
    functions.define(function())
    assert ready == [lane]


async def test_a_function_is_stored_when_it_is_used_and_again_when_that_was_long_ago(table):
    functions, *_ = table()
    functions.define(function())
    digest = function().digest
    assert functions.to_store(digest, 1_000.0) == function()
    assert functions.to_store(digest, 1_100.0) is None
    assert functions.to_store(digest, 2_000.0) == function()
    assert functions.to_store(b"unknown", 2_000.0) is None


async def test_a_wrong_digest_is_refused(table):
    functions, *_ = table()
    with pytest.raises(InvalidRequestError, match="digest"):
        functions.define(Function(b"x" * 32, "f", b"code"))


async def test_memory_holds_a_bounded_amount_of_code(table):
    functions, store, ready, _ = table()
    for number in range(5):
        functions.define(function(bytes([number]) * (CACHE_BYTES // 3)))
    first = function(bytes([0]) * (CACHE_BYTES // 3))
    store.known[first.digest] = first
    functions.provide(lane_for(first))
    await asyncio.sleep(0.01)
    assert (store.reads, len(ready)) == (1, 1)
