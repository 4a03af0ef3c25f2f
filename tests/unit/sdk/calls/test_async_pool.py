"""The handle of a pool in an event loop."""

from __future__ import annotations

import asyncio

import gridloom
import pytest
from gridloom.aio import AsyncClient
from gridloom.api.functions.v1 import pool_pb2
from gridloom.calls.async_pool import AsyncPool
from gridloom.calls.pool import Pool
from gridloom.calls.states import PoolState


@gridloom.function
def square(x):
    return x * x


@pytest.fixture
async def aio(service):
    async with AsyncClient(await asyncio.to_thread(gridloom.connect, service.address)) as aio:
        yield aio


def public(kind):
    return {name for name in dir(kind) if not name.startswith("_")}


def test_both_faces_of_a_pool_have_the_same_names():
    # An executor of the standard library is of the other face by its nature.
    assert public(AsyncPool) - {"sync"} == public(Pool) - {"executor", "here"}


async def test_calls_and_maps_of_a_pool_are_awaited(aio, service):
    async with await aio.pool(workers=2, name="mine") as pool:
        assert await pool.submit(square, 3) == 9
        assert [value async for value in pool.map(square, range(5))] == [0, 1, 4, 9, 16]
        assert [value async for value in pool.starmap(pow, [(2, 3), (3, 2)])] == [8, 9]
        assert (await pool.info).name == "mine"
        assert await pool.state is PoolState.IDLE
        assert (await pool.resize(5)).most_workers == 5
        await pool.wait(10)
    assert service.pools[pool.id].state == pool_pb2.POOL_STATE_CLOSED


async def test_a_pool_is_opened_by_its_id(aio):
    pool = await aio.pool(workers=1)
    again = await aio.get(pool.id)
    assert (type(again), again, hash(again), repr(again)) == (
        AsyncPool,
        pool,
        hash(pool),
        f"<AsyncPool {pool.id}>",
    )
    assert again.sync == pool.sync
    await again.close()


async def test_an_error_in_the_block_closes_the_pool(aio, service):
    with pytest.raises(RuntimeError, match="mine"):
        async with await aio.pool(workers=1) as pool:
            raise RuntimeError("mine")
    assert service.pools[pool.id].state == pool_pb2.POOL_STATE_CLOSED


async def test_calls_and_maps_tell_of_themselves_without_blocking_the_loop(aio, service):
    call = aio.submit(square, 3)
    assert await call == 9
    assert (await call.explain()).message == f"{call.id} is SUCCEEDED"
    assert await aio.submit(square, call) == 81
    results = aio.map(square, range(4))
    assert await results.wait(30) == await results.state
    assert await results.result() == [0, 1, 4, 9]
    assert results.id in (await results.explain()).message
