from __future__ import annotations

import asyncio

import pytest
from gridloom_services.embedded.idle import IdleClock, until_idle


class World:
    """A platform with work and callers, and time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.is_idle = True
        self.last_call = 0.0
        self.clock = IdleClock(
            lambda: self.is_idle, lambda: self.now - self.last_call, lambda: self.now
        )

    def after(self, seconds: float) -> float:
        self.now += seconds
        return self.clock.idle_s()


def test_idleness_counts_from_when_it_was_first_seen():
    world = World()
    assert [world.after(5), world.after(5), world.after(7)] == [0, 5, 12]


def test_work_begins_the_count_anew():
    world = World()
    world.after(0)
    world.is_idle = False
    assert world.after(5) == 0
    world.is_idle = True
    assert [world.after(5), world.after(3)] == [0, 3]


def test_a_call_between_two_looks_begins_the_count_anew():
    world = World()
    world.after(0)
    world.after(10)
    world.last_call = world.now - 1
    assert world.after(0) == 1


async def test_it_returns_when_idle_for_long_enough():
    world = World()

    async def time_passes() -> None:
        while True:
            world.now += 1
            await asyncio.sleep(0)

    passing = asyncio.ensure_future(time_passes())
    await until_idle(world.clock, 0.04)
    passing.cancel()
    await asyncio.gather(passing, return_exceptions=True)


async def test_zero_means_never():
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await until_idle(World().clock, 0)
