"""The handle of a group in an event loop."""

from __future__ import annotations

import asyncio

import gridloom
import pytest
from gridloom.aio import AsyncClient
from gridloom.api.functions.v1 import pool_pb2
from gridloom.calls.async_group import AsyncGroup
from gridloom.calls.group import Group
from gridloom.calls.states import CallState
from gridloom.errors import IncompleteError, NotFoundError


@gridloom.function
def square(x):
    return x * x


@gridloom.function
def inflated(x):
    return bytes(400_000 * x)


@gridloom.function
def spoken(x):
    print(f"item {x}\nand {x}")


@gridloom.function
def total(values):
    return sum(values)


@pytest.fixture
async def aio(service):
    """The client of another process, so to speak."""
    async with AsyncClient(await asyncio.to_thread(gridloom.connect, service.address)) as aio:
        yield aio


def finished_map(client, function, items, **options):
    results = client.map(function, items, **options)
    return results.id, list(results)


def public(kind):
    return {name for name in dir(kind) if not name.startswith("_")}


def test_both_faces_of_a_group_have_the_same_names():
    # Here the way to the platform is the client's, and a handle exists only of what was found.
    assert public(AsyncGroup) - {"sync"} == public(Group) - {"connection", "refreshed"}


async def test_a_group_is_read_in_an_event_loop(client, aio, service):
    service.script.part = 2
    identifier, values = await asyncio.to_thread(
        finished_map, client, square, range(20), chunk_size=5
    )
    group = await aio.get(identifier)
    assert [value async for value in group.results()] == values
    assert await group.result(10) == values
    assert await group.wait(10) is await group.state is CallState.SUCCEEDED
    assert (await group.info).done == 20
    assert await group.cancel() == 0
    assert repr(group) == f"<AsyncGroup {group.id} succeeded 20/20>"
    again = await aio.get(identifier)
    assert again == group
    assert len({again, group}) == 1
    assert group.sync.id == group.id


async def test_what_its_calls_printed_is_read_line_by_line(client, aio):
    identifier, _ = await asyncio.to_thread(
        finished_map, client, spoken, [1, 2], chunk_size=1, capture_output=True
    )
    group = await aio.get(identifier)
    assert sorted([line async for line in group.logs()]) == ["and 1", "and 2", "item 1", "item 2"]


async def test_a_group_that_does_not_exist_is_not_found(aio):
    with pytest.raises(NotFoundError):
        await aio.get("group_aaaaaaaaaaaaaaaa_1")


async def test_large_results_are_fetched_beside_the_loop(client, aio):
    identifier, _ = await asyncio.to_thread(finished_map, client, inflated, [1, 2], chunk_size=1)
    group = await aio.get(identifier)
    assert [len(value) async for value in group.results()] == [400_000, 800_000]


async def test_leaving_a_pool_waits_for_its_calls_without_holding_up_the_loop(aio, service):
    service.hold()
    async with await aio.pool(workers=2) as pool:
        future = pool.submit(square, 3)
        asyncio.get_running_loop().call_later(0.05, service.running.set)
    assert future.done()
    assert await future == 9
    (closed,) = service.pools.values()
    assert closed.state == pool_pb2.POOL_STATE_CLOSED


async def test_the_result_of_a_workflow_has_its_shape(client, aio):
    study = gridloom.chord([square.s(n) for n in range(3)], total.s()).submit()
    await asyncio.to_thread(study.result, 10)
    assert await (await aio.get(study.id)).result(10) == 5


async def test_a_map_that_was_left_gives_its_results_and_then_says_so(client, aio, service):
    service.script.abandon = True
    identifier, values = await asyncio.to_thread(
        finished_map, client, square, range(10), chunk_size=2
    )
    group = await aio.get(identifier)
    found = []

    async def read():
        async for value in group.results(timeout=10):
            found.append(value)  # noqa: PERF401  # what came before the error is looked at

    with pytest.raises(IncompleteError, match="its client went away"):
        await read()
    assert found == values
    with pytest.raises(IncompleteError):
        await group.result(10)
    assert (await group.info).abandoned
    assert await group.wait(10) is CallState.FAILED
