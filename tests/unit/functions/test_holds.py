import asyncio

import pytest
from gridloom_services.functions.holds import Holds, MemoryObjects
from gridloom_services.functions.store.rows import HoldRow

from tests.support.eventually import eventually


class Broken(MemoryObjects):
    """Cannot be reached at first."""

    def __init__(self):
        super().__init__()
        self.failures = 2

    async def hold(self, holder, digests):
        if self.failures:
            self.failures -= 1
            raise ConnectionError("objects is away")
        await super().hold(holder, digests)


@pytest.fixture
async def run():
    tasks = []

    def run(door):
        forgotten = []
        holds = Holds(door, forgotten.extend)
        tasks.append(asyncio.create_task(holds.run()))
        return holds, forgotten

    yield run
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_objects_are_held_together_by_holder(run):
    door = MemoryObjects()
    holds, _ = run(door)
    holds.add([HoldRow(1, "group_a_1", ("x",)), HoldRow(2, "group_a_1", ("y", "z"))], [])
    await eventually(lambda: holds.is_idle)
    assert door.held == {"group_a_1": {"x", "y", "z"}}


async def test_rows_are_forgotten_when_the_objects_are_released(run):
    door = MemoryObjects()
    door.held["call_a_1"] = {"x"}
    holds, forgotten = run(door)
    holds.add([], [(11, "call_a_1")])
    await eventually(lambda: holds.is_idle)
    assert (door.held, forgotten) == ({}, [11])


async def test_what_is_held_and_released_at_once_is_released(run):
    door = MemoryObjects()
    holds, forgotten = run(door)
    holds.add([HoldRow(11, "call_a_1", ("x",))], [(11, "call_a_1")])
    await eventually(lambda: holds.is_idle)
    assert (door.held, forgotten) == ({}, [11])


async def test_it_goes_on_until_objects_can_be_reached(run):
    door = Broken()
    holds, _ = run(door)
    holds.add([HoldRow(1, "call_a_1", ("x",))], [])
    await eventually(lambda: holds.is_idle)
    assert door.held == {"call_a_1": {"x"}}
