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


class Slow(MemoryObjects):
    """Takes its time; whatever it is told and has done is on its list."""

    def __init__(self, while_holding):
        super().__init__()
        self._while_holding = while_holding
        self.released = set()

    async def hold(self, holder, digests):
        await super().hold(holder, tuple(digests))
        self._while_holding()

    async def release(self, holder):
        await super().release(holder)
        self.released.add(holder)


async def test_what_comes_while_objects_are_told_of_its_holder_is_told_too(run):
    late = [HoldRow(1, "call_a_1", ("result",))]
    door = Slow(lambda: holds.add([late.pop()], []) if late else None)
    holds, _ = run(door)
    holds.add([HoldRow(1, "call_a_1", ("argument",))], [])
    await eventually(lambda: holds.is_idle)
    assert door.held == {"call_a_1": {"argument", "result"}}


async def test_a_hold_that_comes_with_its_release_while_objects_are_told_is_no_hold_for_ever(run):
    late = [HoldRow(1, "call_a_1", ("result",))]
    door = Slow(lambda: holds.add([late.pop()], [(1, "call_a_1")]) if late else None)
    holds, forgotten = run(door)
    holds.add([HoldRow(1, "call_a_1", ("argument",)), HoldRow(2, "call_a_2", ("x",))], [])
    await eventually(lambda: holds.is_idle)
    assert (door.held, door.released, forgotten) == ({"call_a_2": {"x"}}, {"call_a_1"}, [1])
