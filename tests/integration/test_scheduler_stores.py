"""The scheduler on each database, whose commits take their time on PostgreSQL."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from gridloom_services.common.store import Database
from gridloom_services.scheduler.intake import Submission
from gridloom_services.scheduler.runtime.base import Phase
from gridloom_services.scheduler.spec import Condition, Dependency, RetryPolicy
from gridloom_services.scheduler.states import FailureClass
from gridloom_services.scheduler.store.schema import SCHEMA
from gridloom_services.scheduler.store.sql import SqlStore

from tests.support.scheduler import Platform, a_role, a_spec, an_array, nodes_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PATIENCE_S = 30


class DatabasePlatform(Platform):
    """Waits for what takes real time, as a commit in a thread does."""

    async def settle(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            quiet = 0
            while quiet < 20:
                self.clock.advance(0)
                await asyncio.sleep(0.002)
                core = self.control.core
                is_busy = core.journal._batch.changes or core.planner.pause_s() is not None
                quiet = 0 if is_busy else quiet + 1


@pytest.fixture
async def platform(database_url: str, tmp_path: Path) -> AsyncIterator[Platform]:
    database = await Database.open(database_url, SCHEMA)
    platform = DatabasePlatform(
        tmp_path, nodes=nodes_of(2, cpu=2000), store=await SqlStore.open(database)
    )
    await platform.begin()
    yield platform
    await platform.end()
    assert platform.fatal == []
    await database.close()


async def drain(platform: Platform) -> None:
    """End everything well that runs, until nothing is left."""
    for _ in range(100):
        for name, gang in list(platform.cluster.gangs.items()):
            if gang.replicas["main", 0].status.phase is Phase.RUNNING:
                platform.cluster.finish(name)
        await platform.advance(2)
        if not (await platform.store.load()).jobs:
            return
    pytest.fail("jobs are left")


async def test_a_study_runs_to_its_end_over_restarts(platform: Platform):
    policy = RetryPolicy({FailureClass.APPLICATION_ERROR: 1}, backoff_us=1_000_000)
    (first,) = await platform.submit(a_spec(retry=policy))
    after = (Dependency(first, Condition.AFTER_OK),)
    array, plain = await platform.submit(
        a_spec(array=an_array(12, max_parallel=3), dependencies=after),
        a_spec(a_role(cpu=2000), labels={"study": "a"}),
    )
    await platform.finish(f"{first}-a1", exit_code=1)
    await platform.restart()
    await platform.advance(1)
    assert (await platform.job(first)).attempt == 2
    await platform.finish(f"{first}-a2")
    assert await platform.states(first, array, plain) == ["SUCCEEDED", "RUNNING", "RUNNING"]
    await platform.control.cancel([f"{array}.11"], "not this one", 1.0)
    await platform.restart()
    await drain(platform)
    assert await platform.states(array, plain) == ["CANCELLED", "SUCCEEDED"]
    assert await platform.runs(array) == "S" * 11 + "C"
    started = platform.cluster.started
    assert len(started) == len(set(started)) == 2 + 11 + 1
    assert platform.cluster.gangs == {}


async def test_requests_that_come_together_share_commits_and_lose_nothing(platform: Platform):
    submissions = [
        Submission((a_spec(request_id=f"r{number % 10}"), a_spec()), "ada") for number in range(40)
    ]
    answers = await asyncio.gather(*(platform.control.submit(each) for each in submissions))
    named = {(jobs[0].spec.request_id, jobs[0].id) for jobs in answers}
    assert len(named) == 10
    assert len({jobs[1].id for jobs in answers}) == 40
    await drain(platform)
    contents = await platform.store.load()
    assert contents.jobs == contents.gangs == ()
    assert len(platform.cluster.started) == len(set(platform.cluster.started)) == 50
