"""What a scheduler finds when it starts, and what it makes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gridloom_services.scheduler.job import Outcome, StopOrder
from gridloom_services.scheduler.runtime.base import Assignment, Gang, GangRole
from gridloom_services.scheduler.spec import Condition, Dependency, RetryPolicy
from gridloom_services.scheduler.states import FailureClass, JobState
from gridloom_services.scheduler.store.base import Changes

from tests.support.scheduler import a_role, a_spec, an_array

if TYPE_CHECKING:
    from tests.support.scheduler import Platform

BEFORE_WRITE, AFTER_WRITE = 0, 1


async def test_what_runs_goes_on_and_is_not_started_again(platform: Platform):
    job, array = await platform.submit(a_spec(), a_spec(array=an_array(2)))
    await platform.restart()
    assert await platform.states(job, array) == ["RUNNING", "RUNNING"]
    assert len(platform.cluster.started) == 3
    for gang in (f"{job}-a1", f"{array}.0-a1", f"{array}.1-a1"):
        await platform.finish(gang)
    assert await platform.states(job, array) == ["SUCCEEDED", "SUCCEEDED"]


async def test_what_it_holds_is_not_given_to_others(platform: Platform):
    (job,) = await platform.submit(a_spec(a_role(cpu=3000)))
    await platform.restart()
    (other,) = await platform.submit(a_spec(a_role(cpu=2000)))
    assert await platform.states(other) == ["QUEUED"]
    await platform.finish(f"{job}-a1")
    assert await platform.states(other) == ["RUNNING"]


async def test_what_ended_meanwhile_is_recorded(platform: Platform):
    (job,) = await platform.submit()
    await platform.end()
    platform.cluster.finish(f"{job}-a1", exit_code=5)
    await platform.begin()
    assert (await platform.job(job)).exit_code == 5
    assert platform.cluster.gangs == {}


async def test_a_start_that_was_decided_but_not_made_is_made(platform: Platform):
    # One transaction holds the submit and the decision; it dies before the runtime hears of it.
    await platform.crash(platform.submit(a_spec(request_id="r")), after=AFTER_WRITE)
    (job,) = (await platform.store.load()).jobs
    assert await platform.states(job.id) == ["RUNNING"]
    assert platform.starts(f"{job.id}-a1") == 1


async def test_a_submit_that_was_not_written_was_never_made(platform: Platform):
    await platform.crash(platform.submit(a_spec(request_id="r")), after=BEFORE_WRITE)
    assert (await platform.store.load()).jobs == ()
    assert platform.cluster.started == []


async def test_an_order_to_stop_that_was_not_passed_on_is_passed_on(platform: Platform):
    (job,) = await platform.submit()
    await platform.crash(platform.control.cancel([job], "x", 1.0), after=AFTER_WRITE)
    await platform.advance(1)
    assert await platform.states(job) == ["CANCELLED"]


async def test_a_gang_that_was_ordered_to_stop_before_it_began_never_begins(platform: Platform):
    await platform.crash(platform.submit(a_spec(request_id="r")), after=AFTER_WRITE)
    (job,) = (await platform.store.load()).jobs
    await platform.end()
    platform.cluster.gangs.clear()
    platform.cluster.started.clear()
    (live,) = (await platform.store.load()).gangs
    order = StopOrder(Outcome(JobState.CANCELLED, FailureClass.CANCELLED, reason="x"), 1.0)
    await platform.store.write(Changes(gangs={live.unit: replace(live, stop=order)}))
    await platform.begin()
    assert await platform.states(job.id) == ["CANCELLED"]
    assert platform.cluster.started == []


async def test_a_gang_that_nobody_wants_is_stopped_and_forgotten(platform: Platform):
    role = GangRole("main", (0,), ("sleep", "9"))
    stranger = Gang("job_stranger-a1", "job_stranger", 1, (role,))
    await platform.runtime.start(stranger, (Assignment("main", 0, "local"),))
    await platform.advance(0)
    assert platform.cluster.gangs == {}
    await platform.runtime.start(stranger, (Assignment("main", 0, "local"),))
    await platform.restart()
    await platform.advance(0)
    assert platform.cluster.gangs == {}


async def test_an_older_attempt_changes_nothing(platform: Platform):
    policy = RetryPolicy({FailureClass.APPLICATION_ERROR: 1}, backoff_us=0)
    (job,) = await platform.submit(a_spec(retry=policy))
    await platform.finish(f"{job}-a1", exit_code=1)
    role = GangRole("main", (0,), ("true",))
    ghost = Gang(f"{job}-a1", job, 1, (role,))
    await platform.runtime.start(ghost, (Assignment("main", 0, "local"),))
    await platform.advance(0)
    assert (await platform.job(job)).attempt == 2
    assert await platform.states(job) == ["RUNNING"]
    assert list(platform.cluster.gangs) == [f"{job}-a2"]


async def test_a_back_off_goes_on_after_a_restart(platform: Platform):
    policy = RetryPolicy({FailureClass.APPLICATION_ERROR: 1}, backoff_us=10_000_000)
    job, array = await platform.submit(
        a_spec(retry=policy), a_spec(array=an_array(2), retry=policy)
    )
    await platform.finish(f"{job}-a1", exit_code=1)
    await platform.finish(f"{array}.1-a1", exit_code=1)
    await platform.advance(4)
    await platform.restart()
    await platform.advance(5)
    assert await platform.states(job) == ["QUEUED"]
    assert await platform.runs(array) == "RQ"
    await platform.advance(1)
    assert (await platform.job(job)).attempt == 2
    assert await platform.runs(array) == "RR"


async def test_times_dependencies_and_holds_are_kept(platform: Platform):
    start_us = round(platform.clock.now() * 1e6) + 10_000_000
    (first,) = await platform.submit()
    after = (Dependency(first, Condition.AFTER_OK),)
    timed, waiting, held = await platform.submit(
        a_spec(start_after_us=start_us), a_spec(dependencies=after), a_spec(hold=True)
    )
    await platform.restart()
    assert await platform.states(timed, waiting, held) == ["QUEUED", "QUEUED", "HELD"]
    await platform.finish(f"{first}-a1")
    await platform.advance(10)
    assert await platform.states(timed, waiting, held) == ["RUNNING", "RUNNING", "HELD"]


async def test_more_memory_is_asked_for_again_after_a_restart(platform: Platform):
    policy = RetryPolicy({FailureClass.OUT_OF_MEMORY: 1}, backoff_us=10_000_000)
    (job,) = await platform.submit(a_spec(a_role(memory=1 << 30), retry=policy))
    await platform.finish(f"{job}-a1", failure_class=FailureClass.OUT_OF_MEMORY)
    await platform.restart()
    await platform.advance(10)
    gang = platform.cluster.gangs[f"{job}-a2"].gang
    assert gang.roles[0].resources["memory"] == 2 << 30
    await platform.restart()
    assert platform.control.core.engine.free()["memory"] == 6 << 30


async def test_a_promised_start_is_kept(platform: Platform):
    _, promised = await platform.submit(a_spec(a_role(cpu=3000)), a_spec(a_role(cpu=4000)))
    before = (await platform.store.load()).promises
    assert [each.job_id for each in before] == [promised]
    await platform.restart()
    assert (await platform.store.load()).promises == before
    # It needs all of the node: what would run longer than the first job does not pass it.
    (other,) = await platform.submit(a_spec(a_role(cpu=1000), time_limit_s=8 * 24 * 3600))
    assert await platform.states(other) == ["QUEUED"]


async def test_the_first_queue_is_made_once(platform: Platform):
    await platform.restart()
    await platform.restart()
    assert [queue.key for queue in (await platform.store.load()).queues] == ["default/default"]
