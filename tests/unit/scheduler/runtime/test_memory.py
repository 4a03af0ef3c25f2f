from __future__ import annotations

import asyncio

import pytest
from gridloom_services.scheduler.runtime.base import NodeCapacity, Phase
from gridloom_services.scheduler.runtime.memory import MemoryRuntime
from gridloom_services.scheduler.runtime.memory_cluster import (
    Behaviour,
    ManualClock,
    MemoryCluster,
)
from gridloom_services.scheduler.states import FailureClass

from tests.support.runtimes import Watcher, everywhere, gang

NAME = "job_a-a1"


class Play:
    """A cluster whose replicas all behave alike, under a clock that a test moves."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.clock = ManualClock(now=1000.0)
        self.cluster = MemoryCluster(script=lambda *_: behaviour, clock=self.clock)
        self.runtime = MemoryRuntime(self.cluster)

    async def begin(self, **role: object) -> None:
        await self.runtime.open()
        made = gang("x", **role)
        await self.runtime.start(made, everywhere(made))

    @property
    def status(self):
        return self.cluster.gangs[NAME].replicas["main", 0].status


async def test_nothing_happens_while_the_clock_stands():
    play = Play(Behaviour(duration_s=5, start_after_s=1))
    await play.begin()
    assert play.status.phase is Phase.STARTING
    play.clock.advance(1)
    assert (play.status.phase, play.status.started_at) == (Phase.RUNNING, 1001.0)
    play.clock.advance(4.9)
    assert play.status.phase is Phase.RUNNING
    play.clock.advance(100)
    assert (play.status.phase, play.status.ended_at) == (Phase.ENDED, 1006.0)


async def test_a_script_decides_how_it_ends():
    script = Behaviour(
        failure_class=FailureClass.OUT_OF_MEMORY, exit_code=137, signal=9, reason="too much"
    )
    play = Play(script)
    await play.begin()
    play.clock.advance(0)
    assert play.status.failure_class is FailureClass.OUT_OF_MEMORY
    assert (play.status.exit_code, play.status.signal, play.status.reason) == (137, 9, "too much")


async def test_the_time_limit_counts_from_the_start_of_the_command():
    play = Play(Behaviour(duration_s=None, start_after_s=7))
    await play.begin(time_limit_s=10)
    play.clock.advance(16)
    assert play.status.phase is Phase.RUNNING
    play.clock.advance(1)
    assert play.status.failure_class is FailureClass.TIME_LIMIT


@pytest.mark.parametrize(("stop_after_s", "after_s", "signal"), [(3, 3, 15), (None, 8, 9)])
async def test_a_stop_takes_as_long_as_the_script_says_or_the_grace(stop_after_s, after_s, signal):
    play = Play(Behaviour(duration_s=None, stop_after_s=stop_after_s))
    await play.begin()
    play.clock.advance(1)
    await play.runtime.stop(NAME, 8, "why")
    play.clock.advance(100)
    assert (play.status.ended_at, play.status.signal) == (1001.0 + after_s, signal)


async def test_a_test_may_end_a_replica_as_it_likes():
    play = Play(Behaviour(duration_s=None))
    await play.begin()
    play.clock.advance(1)
    play.cluster.finish(NAME, exit_code=2)
    assert (play.status.exit_code, play.status.reason) == (2, "exit code 2")


async def test_a_lost_node_takes_its_replicas_with_it():
    cluster = MemoryCluster(
        nodes=(NodeCapacity("a", {"cpu": 1000}), NodeCapacity("b", {"cpu": 1000})),
        script=lambda *_: Behaviour(duration_s=None),
        clock=ManualClock(),
    )
    runtime = MemoryRuntime(cluster)
    await runtime.open()
    for name, node in (("job_a-a1", "a"), ("job_b-a1", "b")):
        made = gang("x", name=name)
        await runtime.start(made, everywhere(made, node))
    cluster.lose_node("a")
    lost = cluster.gangs["job_a-a1"].replicas["main", 0].status
    assert (lost.failure_class, lost.exit_code) == (FailureClass.NODE_LOST, None)
    assert cluster.gangs["job_b-a1"].replicas["main", 0].status.phase is not Phase.ENDED
    assert [node.name for node in await runtime.capacity()] == ["b"]


async def test_a_cluster_counts_the_copies_that_were_started():
    play = Play(Behaviour())
    await play.begin()
    again = MemoryRuntime(play.cluster)
    await again.open()
    made = gang("x")
    await again.start(made, everywhere(made))
    assert play.cluster.started == [(NAME, "main", 0)]


async def test_the_door_that_was_opened_last_is_told():
    play = Play(Behaviour(duration_s=1))
    await play.begin()
    second = MemoryRuntime(play.cluster)
    await second.open()
    await play.runtime.close()
    watcher = Watcher(second)
    await asyncio.sleep(0)
    play.clock.advance(1)
    assert (await watcher.ended()).exit_code == 0
    await second.close()
    await watcher.close()
