"""Jobs from submit to end, through the whole scheduler on a cluster in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from gridloom_services.common.errors import ConflictError, NotFoundError
from gridloom_services.scheduler.spec import RetryPolicy
from gridloom_services.scheduler.states import FailureClass, JobState

from tests.support.scheduler import a_role, a_spec, an_array

if TYPE_CHECKING:
    from tests.support.scheduler import Platform

GIB = 1 << 30


async def test_a_job_is_queued_started_run_and_done(platform: Platform):
    (job_id,) = await platform.submit()
    job = await platform.job(job_id)
    assert (job.state, job.attempt) == (JobState.RUNNING, 1)
    await platform.advance(5)
    await platform.finish(f"{job_id}-a1")
    job = await platform.job(job_id)
    assert job.state is JobState.SUCCEEDED
    assert job.started_us is not None
    assert job.ended_us is not None
    assert job.ended_us - job.started_us == 5_000_000


async def test_each_change_of_state_is_in_the_history(platform: Platform):
    (job_id,) = await platform.submit()
    await platform.finish(f"{job_id}-a1", exit_code=3)
    job = await platform.job(job_id)
    events = await platform.store.history(job.sequence, 0, 100)
    states = [(event.before.name if event.before else None, event.after.name) for event in events]
    assert states == [
        (None, "QUEUED"),
        ("QUEUED", "STARTING"),
        ("STARTING", "RUNNING"),
        ("RUNNING", "FAILED"),
    ]
    assert "exit code 3" in events[-1].reason
    assert [event.revision for event in events] == sorted({event.revision for event in events})


async def test_an_ended_gang_is_forgotten_by_the_runtime_and_its_logs_are_kept(
    platform: Platform,
):
    (job_id,) = await platform.submit()
    name = f"{job_id}-a1"
    replica = platform.cluster.gangs[name].replicas["main", 0]
    replica.behaviour = type(replica.behaviour)(stdout=b"hello\n")
    await platform.finish(name)
    assert platform.cluster.gangs == {}
    assert (platform.archive.folder_of(name) / "main.0.stdout").read_bytes() == b"hello\n"


async def test_what_does_not_fit_waits_for_its_turn(platform: Platform):
    first, second = await platform.submit(a_spec(a_role(cpu=3000)), a_spec(a_role(cpu=2000)))
    assert await platform.states(first, second) == ["RUNNING", "QUEUED"]
    await platform.finish(f"{first}-a1")
    assert await platform.states(first, second) == ["SUCCEEDED", "RUNNING"]


async def test_a_gang_starts_whole_or_not_at_all(platform: Platform):
    _, gang = await platform.submit(
        a_spec(a_role(cpu=3000)), a_spec(a_role(replicas=2), a_role("other"))
    )
    assert await platform.states(gang) == ["QUEUED"]
    assert len(platform.cluster.gangs) == 1


async def test_when_one_replica_fails_the_rest_is_stopped_and_it_decides(platform: Platform):
    (job_id,) = await platform.submit(a_spec(a_role(replicas=3)))
    await platform.finish(f"{job_id}-a1", index=1, exit_code=7)
    job = await platform.job(job_id)
    assert (job.state, job.exit_code) == (JobState.FAILED, 7)
    assert job.failure_class is FailureClass.APPLICATION_ERROR
    (end,) = await platform.store.ends(job.sequence)
    assert [replica.state.name for replica in end.replicas] == ["CANCELLED", "FAILED", "CANCELLED"]


async def test_accounting_sums_over_replicas_and_attempts(platform: Platform):
    policy = RetryPolicy({FailureClass.APPLICATION_ERROR: 1})
    (job_id,) = await platform.submit(a_spec(a_role(replicas=2), retry=policy))
    for attempt, (code, peak) in enumerate([(1, 50), (0, 20)], start=1):
        for replica in platform.cluster.gangs[f"{job_id}-a{attempt}"].replicas.values():
            replica.behaviour = type(replica.behaviour)(
                duration_s=None, cpu_seconds=1.5, peak_memory_bytes=peak
            )
        await platform.finish(f"{job_id}-a{attempt}", exit_code=code)
        if code == 0:
            await platform.finish(f"{job_id}-a{attempt}", index=1)
        await platform.advance(2)
    job = await platform.job(job_id)
    assert job.state is JobState.SUCCEEDED
    assert (job.usage.cpu_seconds, job.usage.peak_memory_bytes) == (6.0, 50)


async def test_the_processes_find_their_number_and_address(platform: Platform):
    (job_id,) = await platform.submit()
    gang = platform.cluster.gangs[f"{job_id}-a1"].gang
    assert gang.env == {"GRIDLOOM_ADDRESS": "here:1", "GRIDLOOM_PROJECT": "default"}
    assert gang.token == f"token of {job_id}-a1"
    assert gang.time_limit_s == 7 * 24 * 3600


async def test_the_time_limit_ends_a_job(platform: Platform):
    (job_id,) = await platform.submit(a_spec(time_limit_s=60))
    await platform.advance(61)
    job = await platform.job(job_id)
    assert (job.state, job.failure_class) == (JobState.FAILED, FailureClass.TIME_LIMIT)


async def test_the_platform_is_idle_when_nothing_waits_or_runs(platform: Platform):
    assert platform.control.is_idle()
    (job_id,) = await platform.submit()
    assert not platform.control.is_idle()
    await platform.finish(f"{job_id}-a1")
    assert platform.control.is_idle()


async def test_an_attempt_is_live_until_its_gang_has_ended(platform: Platform):
    job_id, array = await platform.submit(a_spec(), a_spec(array=an_array(2)))
    assert platform.control.is_live(job_id, None, 1)
    assert platform.control.is_live(array, 1, 1)
    assert not platform.control.is_live(job_id, None, 2)
    await platform.finish(f"{job_id}-a1")
    assert not platform.control.is_live(job_id, None, 1)


# ---- cancel


async def test_a_waiting_job_is_cancelled_at_once(platform: Platform):
    _, waiting = await platform.submit(a_spec(a_role(cpu=4000)), a_spec())
    await platform.control.cancel([waiting], "not needed", 5.0)
    job = await platform.job(waiting)
    assert (job.state, job.reason) == (JobState.CANCELLED, "not needed")
    assert job.failure_class is FailureClass.CANCELLED


async def test_a_running_job_is_cancelled_when_its_processes_have_ended(platform: Platform):
    (job_id,) = await platform.submit()
    replica = platform.cluster.gangs[f"{job_id}-a1"].replicas["main", 0]
    replica.behaviour = type(replica.behaviour)(duration_s=None, stop_after_s=3)
    await platform.control.cancel([job_id], "by ada", 10.0)
    await platform.settle()
    assert (await platform.job(job_id)).reason == "being cancelled: by ada"
    assert await platform.states(job_id) == ["RUNNING"]
    await platform.advance(3)
    job = await platform.job(job_id)
    assert (job.state, job.exit_code, job.signal) == (JobState.CANCELLED, 143, 15)


async def test_cancelling_what_is_over_changes_nothing(platform: Platform):
    (job_id,) = await platform.submit()
    await platform.finish(f"{job_id}-a1")
    await platform.control.cancel([job_id], "late", 1.0)
    assert await platform.states(job_id) == ["SUCCEEDED"]


async def test_of_several_jobs_all_or_none_is_cancelled(platform: Platform):
    (job_id,) = await platform.submit()
    with pytest.raises(NotFoundError, match="job_none"):
        await platform.control.cancel([job_id, "job_none"], "x", 1.0)
    assert await platform.states(job_id) == ["RUNNING"]


async def test_a_job_that_was_through_before_the_order_arrived_has_succeeded(platform: Platform):
    (job_id,) = await platform.submit()
    platform.cluster.finish(f"{job_id}-a1")
    await platform.control.cancel([job_id], "x", 1.0)
    await platform.settle()
    assert await platform.states(job_id) == ["SUCCEEDED"]


# ---- hold and release


async def test_a_held_job_does_not_start_until_it_is_released(platform: Platform):
    (job_id,) = await platform.submit(a_spec(hold=True))
    assert await platform.states(job_id) == ["HELD"]
    await platform.control.release([job_id])
    await platform.settle()
    assert await platform.states(job_id) == ["RUNNING"]


async def test_a_waiting_job_can_be_held_and_others_pass_it(platform: Platform):
    running, held, other = await platform.submit(
        a_spec(a_role(cpu=4000)), a_spec(a_role(cpu=4000)), a_spec(a_role(cpu=4000))
    )
    await platform.control.hold([held])
    await platform.finish(f"{running}-a1")
    assert await platform.states(held, other) == ["HELD", "RUNNING"]
    await platform.control.release([held])
    await platform.finish(f"{other}-a1")
    assert await platform.states(held) == ["RUNNING"]


async def test_what_runs_cannot_be_held(platform: Platform):
    (job_id,) = await platform.submit()
    with pytest.raises(ConflictError, match="is RUNNING; only what waits can be held"):
        await platform.control.hold([job_id])


async def test_holding_twice_changes_nothing(platform: Platform):
    (job_id,) = await platform.submit(a_spec(hold=True))
    await platform.control.hold([job_id])
    assert await platform.states(job_id) == ["HELD"]


# ---- times


async def test_a_job_is_not_started_before_its_time(platform: Platform):
    start_us = round(platform.clock.now() * 1e6) + 60_000_000
    (job_id,) = await platform.submit(a_spec(start_after_us=start_us))
    await platform.advance(59)
    assert await platform.states(job_id) == ["QUEUED"]
    await platform.advance(1)
    assert await platform.states(job_id) == ["RUNNING"]


async def test_a_job_that_has_not_started_at_its_deadline_fails(platform: Platform):
    deadline_us = round(platform.clock.now() * 1e6) + 60_000_000
    _, late = await platform.submit(a_spec(a_role(cpu=4000)), a_spec(deadline_us=deadline_us))
    await platform.advance(60)
    job = await platform.job(late)
    assert (job.state, job.failure_class) == (JobState.FAILED, FailureClass.TIME_LIMIT)
    assert "deadline" in job.reason


async def test_a_job_that_runs_at_its_deadline_is_stopped(platform: Platform):
    deadline_us = round(platform.clock.now() * 1e6) + 60_000_000
    (job_id,) = await platform.submit(a_spec(deadline_us=deadline_us))
    await platform.advance(60)
    await platform.advance(1)
    job = await platform.job(job_id)
    assert (job.state, job.reason) == (JobState.FAILED, "stopped at its deadline")
    assert (job.failure_class, job.signal) == (FailureClass.TIME_LIMIT, 15)


# ---- retries


async def test_a_failure_with_retries_left_is_tried_again_after_a_pause(platform: Platform):
    policy = RetryPolicy({FailureClass.APPLICATION_ERROR: 1}, backoff_us=4_000_000)
    (job_id,) = await platform.submit(a_spec(retry=policy))
    await platform.finish(f"{job_id}-a1", exit_code=1)
    job = await platform.job(job_id)
    assert job.state is JobState.QUEUED
    assert job.reason.endswith("exit code 1; attempt 2 in 4 s")
    await platform.advance(3)
    assert await platform.states(job_id) == ["QUEUED"]
    await platform.advance(1)
    assert (await platform.job(job_id)).attempt == 2
    await platform.finish(f"{job_id}-a2", exit_code=1)
    assert await platform.states(job_id) == ["FAILED"]


async def test_a_lost_node_is_no_reason_to_give_up(platform: Platform):
    (job_id,) = await platform.submit()
    await platform.finish(f"{job_id}-a1", failure_class=FailureClass.NODE_LOST, exit_code=1)
    await platform.advance(1)
    job = await platform.job(job_id)
    assert (job.state, job.attempt) == (JobState.RUNNING, 2)


async def test_what_ran_out_of_memory_gets_twice_as_much(platform: Platform):
    policy = RetryPolicy({FailureClass.OUT_OF_MEMORY: 5}, backoff_us=0)
    (job_id,) = await platform.submit(a_spec(a_role(memory=3 * GIB), retry=policy))
    asked = []
    for attempt in (1, 2, 3):
        gang = platform.cluster.gangs[f"{job_id}-a{attempt}"].gang
        asked.append(gang.roles[0].resources["memory"] // GIB)
        await platform.finish(
            f"{job_id}-a{attempt}", exit_code=137, failure_class=FailureClass.OUT_OF_MEMORY
        )
    assert asked == [3, 6, 8]
    assert await platform.states(job_id) == ["FAILED"]


async def test_a_cancelled_job_is_not_tried_again(platform: Platform):
    policy = RetryPolicy({FailureClass.CANCELLED: 3, FailureClass.APPLICATION_ERROR: 3})
    (job_id,) = await platform.submit(a_spec(retry=policy))
    await platform.control.cancel([job_id], "x", 1.0)
    await platform.advance(5)
    assert await platform.states(job_id) == ["CANCELLED"]


async def test_what_waits_for_its_retry_can_be_cancelled(platform: Platform):
    policy = RetryPolicy({FailureClass.APPLICATION_ERROR: 1}, backoff_us=4_000_000)
    (job_id,) = await platform.submit(a_spec(retry=policy))
    await platform.finish(f"{job_id}-a1", exit_code=1)
    await platform.control.cancel([job_id], "x", 1.0)
    await platform.advance(10)
    assert await platform.states(job_id) == ["CANCELLED"]
    assert platform.starts(f"{job_id}-a2") == 0


async def test_a_retry_keeps_its_place_in_the_queue(platform: Platform):
    policy = RetryPolicy({FailureClass.APPLICATION_ERROR: 1}, backoff_us=0)
    whole = a_role(cpu=4000)
    first, second, third = await platform.submit(
        a_spec(whole, retry=policy), a_spec(whole), a_spec(whole)
    )
    # The second was promised the start after the first; the third was not.
    await platform.finish(f"{first}-a1", exit_code=1)
    assert await platform.states(first, second, third) == ["QUEUED", "RUNNING", "QUEUED"]
    await platform.finish(f"{second}-a1")
    assert await platform.states(first, third) == ["RUNNING", "QUEUED"]


# ---- a new job of an old one


async def test_retrying_makes_a_new_job_that_names_the_old_one(platform: Platform):
    (job_id,) = await platform.submit(a_spec(name="study"))
    await platform.finish(f"{job_id}-a1", exit_code=1)
    again = await platform.control.retry(job_id, "bob", "")
    assert (again.retry_of, again.owner, again.spec.name) == (job_id, "bob", "study")
    assert again.id != job_id
    await platform.settle()
    assert await platform.states(again.id) == ["RUNNING"]


async def test_what_is_not_over_cannot_be_retried(platform: Platform):
    (job_id,) = await platform.submit()
    with pytest.raises(ConflictError, match="only what is over"):
        await platform.control.retry(job_id, "ada", "")
