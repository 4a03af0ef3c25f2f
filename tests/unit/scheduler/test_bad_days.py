"""What goes wrong around the scheduler: a full disk, a refusing runtime, another scheduler."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from gridloom_services.common.errors import StorageFullError, UnavailableError
from gridloom_services.scheduler import control as control_module
from gridloom_services.scheduler import reconcile
from gridloom_services.scheduler.intake import Submission
from gridloom_services.scheduler.spec import RetryPolicy
from gridloom_services.scheduler.store.base import StaleEpochError
from gridloom_services.scheduler.store.memory import MemoryStore

from tests.support.scheduler import Platform, a_role, a_spec, nodes_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gridloom_services.scheduler.store.base import Changes


SUBMISSION = Submission((a_spec(request_id="r"),), "ada")


class Disk(MemoryStore):
    """A store whose disk may be full, or in other hands."""

    trouble: Exception | None = None

    async def write(self, changes: Changes) -> None:
        if self.trouble is not None:
            raise self.trouble
        await super().write(changes)


@pytest.fixture
async def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Platform]:
    """A platform that waits for nothing when it tries again."""
    monkeypatch.setattr(control_module, "_FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(control_module, "_LONGEST_PAUSE_S", 0.0)
    monkeypatch.setattr(reconcile, "_FIRST_PAUSE_S", 0.0)
    platform = Platform(tmp_path, store=Disk())
    await platform.begin()
    yield platform
    await platform.end()


async def until(condition: Any) -> None:
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(0)
    pytest.fail("it did not come to that")


def disk(platform: Platform) -> Disk:
    assert isinstance(platform.store, Disk)
    return platform.store


async def test_a_full_disk_refuses_the_submit_and_forgets_it(platform: Platform):
    disk(platform).trouble = StorageFullError("the disk is full; nothing was accepted")
    with pytest.raises(StorageFullError, match="disk is full"):
        await platform.control.submit(SUBMISSION)
    disk(platform).trouble = None
    await until(lambda: platform.control._core is not None)
    await platform.settle()
    assert (await platform.store.load()).jobs == ()
    assert platform.cluster.started == []
    (job_id,) = await platform.submit(a_spec(request_id="r"))
    assert await platform.states(job_id) == ["RUNNING"]


async def test_what_ends_while_the_disk_is_full_is_recorded_afterwards(platform: Platform):
    (job_id,) = await platform.submit()
    disk(platform).trouble = StorageFullError("full")
    platform.cluster.finish(f"{job_id}-a1", exit_code=4)
    for _ in range(300):
        await asyncio.sleep(0)
    assert await platform.states(job_id) == ["RUNNING"]
    assert f"{job_id}-a1" in platform.cluster.gangs
    disk(platform).trouble = None
    await until(lambda: platform.cluster.gangs == {})
    assert (await platform.job(job_id)).exit_code == 4
    assert platform.starts(f"{job_id}-a1") == 1


async def test_while_it_reads_its_store_anew_it_says_so(platform: Platform):
    platform.control._core = None
    with pytest.raises(UnavailableError, match="try again"):
        await platform.control.submit(SUBMISSION)
    assert not platform.control.is_idle()


async def test_a_scheduler_that_was_replaced_ends_and_answers_nobody(platform: Platform):
    disk(platform).trouble = StaleEpochError("epoch 2 has begun")
    with pytest.raises(StaleEpochError):
        await platform.control.submit(SUBMISSION)
    await until(lambda: platform.fatal)
    with pytest.raises(UnavailableError):
        await platform.control.submit(SUBMISSION)


async def test_a_start_that_the_runtime_refuses_is_repeated(platform: Platform):
    real, refusals = platform.runtime.start, 3

    async def start(gang: Any, placement: Any) -> None:
        nonlocal refusals
        refusals -= 1
        if refusals >= 0:
            raise OSError("no more processes")
        await real(gang, placement)

    platform.runtime.start = start  # type: ignore[method-assign]
    (job_id,) = await platform.submit()
    await until(lambda: platform.cluster.gangs)
    await platform.settle()
    assert await platform.states(job_id) == ["RUNNING"]
    assert platform.starts(f"{job_id}-a1") == 1


async def test_a_start_that_cannot_succeed_fails_the_attempt(platform: Platform):
    async def start(gang: Any, placement: Any) -> None:
        raise OSError("no more processes")

    platform.runtime.start = start  # type: ignore[method-assign]
    jobs = await platform.control.submit(Submission((a_spec(retry=RetryPolicy({})),), "ada"))
    await until(lambda: not platform.control.core.board.jobs)
    await platform.settle()
    job = await platform.job(jobs[0].id)
    assert job.state.name == "FAILED"
    assert job.reason == "the runtime cannot run it: no more processes"


async def test_work_of_a_node_that_is_gone_starts_anew_on_another(tmp_path: Path):
    platform = Platform(tmp_path, nodes=nodes_of(2))
    await platform.begin()
    first, second = await platform.submit(a_spec(a_role(cpu=4000)), a_spec(a_role(cpu=4000)))
    if platform.cluster.gangs[f"{first}-a1"].replicas["main", 0].status.node != "node0":
        first, second = second, first
    platform.cluster.lose_node("node0")
    await platform.advance(1)
    assert await platform.states(first, second) == ["QUEUED", "RUNNING"]
    assert [node.name for node in platform.control.core.engine.nodes()] == ["node1"]
    await platform.finish(f"{second}-a1")
    await platform.advance(1)
    assert (await platform.job(first)).attempt == 2
    assert await platform.states(first, second) == ["RUNNING", "SUCCEEDED"]
    await platform.end()


async def test_a_gang_that_the_runtime_has_lost_can_be_cancelled(platform: Platform):
    (job_id,) = await platform.submit(a_spec(retry=RetryPolicy({})))
    platform.cluster.gangs.clear()
    await platform.control.cancel([job_id], "x", 1.0)
    await platform.settle()
    assert (await platform.job(job_id)).state.name == "CANCELLED"
