"""Elastic roles: replicas that come and go while their gang runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from gridloom_services.common.errors import ConflictError, InvalidRequestError
from gridloom_services.scheduler.explain import PendingReason
from gridloom_services.scheduler.job import Outcome, StopOrder
from gridloom_services.scheduler.runtime.base import Phase
from gridloom_services.scheduler.states import FailureClass, JobState

from tests.support.scheduler import a_role, a_spec, an_array

if TYPE_CHECKING:
    from gridloom_services.scheduler.spec import JobSpec

    from tests.support.scheduler import Platform


def a_pool(replicas: int, least: int = 1, cpu: int = 1000) -> JobSpec:
    role = a_role("worker", cpu=cpu, replicas=replicas, min_replicas=least, elastic=True)
    return a_spec(role, kind="pool")


def alive(platform: Platform, job_id: str, attempt: int = 1) -> list[int]:
    gang = platform.cluster.gangs[f"{job_id}-a{attempt}"]
    return [
        index
        for (_, index), replica in sorted(gang.replicas.items())
        if replica.status.phase is not Phase.ENDED
    ]


async def test_the_gang_starts_with_its_least_and_grows_to_what_is_wanted(platform: Platform):
    (job_id,) = await platform.submit(a_pool(3))
    assert await platform.states(job_id) == ["RUNNING"]
    assert alive(platform, job_id) == [0, 1, 2]


async def test_growth_waits_for_room(platform: Platform):
    (pool,) = await platform.submit(a_pool(6))
    assert alive(platform, pool) == [0, 1, 2, 3]
    await platform.control.resize(pool, "worker", 2, ())
    await platform.settle()
    assert alive(platform, pool) == [0, 1]


async def test_growth_that_waits_says_why(platform: Platform):
    (pool,) = await platform.submit(a_pool(6))
    (target,) = await platform.control.targets([pool])
    answer = platform.control.explain(target)
    assert (answer.reason, answer.resource, answer.asked) == (PendingReason.RESOURCES, "cpu", 1000)
    assert "is to grow: not enough is free" in answer.message
    await platform.control.resize(pool, "worker", 4, ())
    await platform.settle()
    assert platform.control.explain(target).reason is PendingReason.NONE


async def test_what_was_to_grow_when_the_gang_was_stopped_is_told_to_the_runtime_too(
    platform: Platform,
):
    # The growth and the stop were committed before the runtime had heard of either.
    (pool,) = await platform.submit(a_pool(1))
    name = f"{pool}-a1"
    live = platform.control.core.board.gangs[name].live
    late = replace(live.placement[0], index=1)
    order = StopOrder(Outcome(JobState.CANCELLED, FailureClass.CANCELLED, reason="idle"), 5.0)
    stopped = replace(live, placement=(*live.placement, late), stop=order)
    platform.control.core.board.gangs[name].live = stopped
    platform.control._reconciler.bring({name: stopped})
    await platform.settle()
    assert await platform.states(pool) == ["CANCELLED"]


async def test_a_role_may_grow_beyond_what_was_asked_first(platform: Platform):
    (pool,) = await platform.submit(a_pool(1))
    assert alive(platform, pool) == [0]
    await platform.control.resize(pool, "worker", 3, ())
    await platform.settle()
    assert alive(platform, pool) == [0, 1, 2]


async def test_the_surplus_that_is_named_goes_first_and_then_the_highest(platform: Platform):
    (pool,) = await platform.submit(a_pool(4))
    await platform.control.resize(pool, "worker", 2, (1, 99))
    await platform.settle()
    assert alive(platform, pool) == [0, 2]


async def test_an_index_is_never_used_twice(platform: Platform):
    (pool,) = await platform.submit(a_pool(3))
    for size in (1, 3, 2, 4):
        await platform.control.resize(pool, "worker", size, ())
        await platform.settle()
    assert alive(platform, pool) == [0, 3, 5, 6]
    indices = [index for _, _, index in platform.cluster.started]
    assert len(indices) == len(set(indices))


async def test_what_a_shrunk_pool_gives_back_others_can_use(platform: Platform):
    (pool,) = await platform.submit(a_pool(4))
    (other,) = await platform.submit(a_spec(a_role(cpu=2000)))
    assert await platform.states(other) == ["QUEUED"]
    await platform.control.resize(pool, "worker", 2, ())
    await platform.settle()
    assert await platform.states(other) == ["RUNNING"]


@pytest.mark.parametrize(
    "how", [{"exit_code": 0}, {"exit_code": 1}, {"failure_class": FailureClass.NODE_LOST}]
)
async def test_a_replica_that_ends_just_leaves(platform: Platform, how: dict[str, object]):
    (pool,) = await platform.submit(a_pool(3))
    await platform.finish(f"{pool}-a1", "worker", 1, **how)
    assert await platform.states(pool) == ["RUNNING"]
    assert alive(platform, pool) == [0, 2]
    free = platform.control.core.engine.free()
    assert free["cpu"] == 2000


async def test_the_gang_fails_with_a_failure_that_leaves_too_few(platform: Platform):
    (pool,) = await platform.submit(a_pool(3, least=2))
    await platform.finish(f"{pool}-a1", "worker", 0, exit_code=4)
    assert await platform.states(pool) == ["RUNNING"]
    await platform.finish(f"{pool}-a1", "worker", 2, exit_code=5)
    job = await platform.job(pool)
    assert (job.state.name, job.exit_code) == ("FAILED", 5)
    (end,) = await platform.store.ends(job.sequence)
    assert [each.index for each in end.replicas] == [0, 1, 2]


async def test_the_gang_succeeds_when_the_last_has_ended_well(platform: Platform):
    (pool,) = await platform.submit(a_pool(3, least=2))
    for index in (2, 0, 1):
        assert await platform.states(pool) == ["RUNNING"]
        await platform.finish(f"{pool}-a1", "worker", index)
    assert await platform.states(pool) == ["SUCCEEDED"]


async def test_size_and_replicas_are_as_before_after_a_restart(platform: Platform):
    (pool,) = await platform.submit(a_pool(2))
    await platform.control.resize(pool, "worker", 4, ())
    await platform.settle()
    await platform.finish(f"{pool}-a1", "worker", 1)
    await platform.restart()
    assert alive(platform, pool) == [0, 2, 3]
    assert platform.control.core.engine.free()["cpu"] == 1000
    await platform.control.resize(pool, "worker", 4, ())
    await platform.settle()
    assert alive(platform, pool) == [0, 2, 3, 4]


async def test_growth_that_was_waiting_goes_on_waiting_after_a_restart(platform: Platform):
    other, pool = await platform.submit(a_spec(a_role(cpu=3000)), a_pool(3))
    assert alive(platform, pool) == [0]
    await platform.restart()
    assert alive(platform, pool) == [0]
    await platform.finish(f"{other}-a1")
    assert alive(platform, pool) == [0, 1, 2]


async def test_shrinking_goes_on_after_a_restart(platform: Platform):
    (pool,) = await platform.submit(a_pool(3))
    # It dies after the commit, before the runtime is told.
    await platform.crash(platform.control.resize(pool, "worker", 1, ()), after=1)
    assert alive(platform, pool) == [0]


async def test_a_pool_that_waits_can_be_resized(platform: Platform):
    other, pool = await platform.submit(a_spec(a_role(cpu=4000)), a_pool(3))
    await platform.control.resize(pool, "worker", 2, ())
    await platform.finish(f"{other}-a1")
    assert alive(platform, pool) == [0, 1]


async def test_only_elastic_roles_of_live_jobs_are_resized(platform: Platform):
    plain, pool, array = await platform.submit(a_spec(), a_pool(2), a_spec(array=an_array(2)))
    with pytest.raises(InvalidRequestError, match=f"elastic roles of {plain}: none"):
        await platform.control.resize(plain, "main", 2, ())
    with pytest.raises(InvalidRequestError, match=f"elastic roles of {pool}: worker"):
        await platform.control.resize(pool, "main", 2, ())
    with pytest.raises(InvalidRequestError, match="from 1 to 10000"):
        await platform.control.resize(pool, "worker", 0, ())
    with pytest.raises(InvalidRequestError, match="array cannot be resized"):
        await platform.control.resize(array, "main", 2, ())
    await platform.control.cancel([pool], "x", 1.0)
    await platform.settle()
    with pytest.raises(ConflictError, match="is over: CANCELLED"):
        await platform.control.resize(pool, "worker", 2, ())
