"""Arrays: elements that wait, run, fail and are cancelled one by one, in one job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from gridloom_services.common.errors import NotFoundError
from gridloom_services.scheduler.runtime.memory_cluster import Behaviour
from gridloom_services.scheduler.spec import ArraySpec, Range, RetryPolicy
from gridloom_services.scheduler.states import FailureClass, JobState

from tests.support.scheduler import Platform, a_role, a_spec, an_array, nodes_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gridloom_services.scheduler.runtime.base import Gang

GIB = 1 << 30


async def test_elements_run_as_far_as_there_is_room(platform: Platform):
    (job_id,) = await platform.submit(a_spec(array=an_array(6)))
    assert await platform.runs(job_id) == "RRRRQQ"
    await platform.finish(f"{job_id}.1-a1")
    assert await platform.runs(job_id) == "RSRRRQ"


async def test_no_more_elements_run_at_once_than_the_array_allows(platform: Platform):
    (job_id,) = await platform.submit(a_spec(array=an_array(6, max_parallel=2)))
    assert await platform.runs(job_id) == "RRQQQQ"
    await platform.finish(f"{job_id}.0-a1")
    assert await platform.runs(job_id) == "SRRQQQ"


async def test_an_array_succeeds_with_its_last_element(platform: Platform):
    (job_id,) = await platform.submit(a_spec(array=an_array(2)))
    await platform.finish(f"{job_id}.0-a1")
    assert await platform.states(job_id) == ["RUNNING"]
    await platform.finish(f"{job_id}.1-a1")
    assert await platform.states(job_id) == ["SUCCEEDED"]
    assert await platform.runs(job_id) == "SS"


async def test_an_array_fails_when_all_is_over_and_names_its_first_failure(platform: Platform):
    (job_id,) = await platform.submit(a_spec(array=an_array(3)))
    await platform.finish(f"{job_id}.1-a1", exit_code=7)
    await platform.finish(f"{job_id}.2-a1", exit_code=8)
    assert await platform.states(job_id) == ["RUNNING"]
    await platform.finish(f"{job_id}.0-a1")
    job = await platform.job(job_id)
    assert (job.state, job.exit_code) == (JobState.FAILED, 7)
    assert job.reason.startswith(f"2 of 3 elements failed; the first was {job_id}.1: ")
    assert job.failure_class is FailureClass.APPLICATION_ERROR


async def test_elements_are_called_by_their_own_numbers(platform: Platform):
    role = a_role(command=("solve", "--seed={index}", "{index}{index}"), env={"SEED": "s{index}"})
    array = ArraySpec((Range(10, 14, 2), Range(7, 7)))
    (job_id,) = await platform.submit(a_spec(role, array=array))
    gang = platform.cluster.gangs[f"{job_id}.14-a1"].gang
    assert gang.roles[0].command == ("solve", "--seed=14", "1414")
    assert gang.roles[0].env == {"SEED": "s14"}
    assert (gang.element, gang.env["GRIDLOOM_ARRAY_INDEX"]) == (14, "14")
    assert f"{job_id}.7-a1" in platform.cluster.gangs


async def test_braces_mean_nothing_in_a_job_that_is_no_array(platform: Platform):
    (job_id,) = await platform.submit(a_spec(a_role(command=("echo", "{index}"))))
    assert platform.cluster.gangs[f"{job_id}-a1"].gang.roles[0].command == ("echo", "{index}")


async def test_a_failed_element_is_tried_again_by_itself(platform: Platform):
    policy = RetryPolicy({FailureClass.APPLICATION_ERROR: 1}, backoff_us=4_000_000)
    (job_id,) = await platform.submit(a_spec(array=an_array(3), retry=policy))
    await platform.finish(f"{job_id}.1-a1", exit_code=1)
    assert await platform.runs(job_id) == "RQR"
    await platform.advance(4)
    assert await platform.runs(job_id) == "RRR"
    assert platform.starts(f"{job_id}.1-a2") == 1
    assert (await platform.job(job_id)).attempt == 2


async def test_one_element_is_cancelled_waiting_or_running(platform: Platform):
    (job_id,) = await platform.submit(a_spec(array=an_array(6)))
    await platform.control.cancel([f"{job_id}.1", f"{job_id}.5"], "x", 1.0)
    await platform.settle()
    assert await platform.runs(job_id) == "RCRRRC"


async def test_a_whole_array_is_cancelled(platform: Platform):
    (job_id,) = await platform.submit(a_spec(array=an_array(6)))
    await platform.finish(f"{job_id}.0-a1")
    await platform.control.cancel([job_id], "enough", 1.0)
    await platform.settle()
    assert await platform.runs(job_id) == "SCCCCC"
    job = await platform.job(job_id)
    assert job.state is JobState.CANCELLED
    assert "enough" in job.reason


async def test_an_element_that_does_not_exist_is_named(platform: Platform):
    (job_id,) = await platform.submit(a_spec(array=an_array(6)))
    with pytest.raises(NotFoundError, match="has no element 6"):
        await platform.control.cancel([f"{job_id}.6"], "x", 1.0)
    with pytest.raises(NotFoundError, match="there is no job"):
        await platform.control.cancel([f"{job_id}.x"], "x", 1.0)


async def test_holding_an_array_keeps_what_waits_and_lets_run_what_runs(platform: Platform):
    (job_id,) = await platform.submit(a_spec(array=an_array(6)))
    await platform.control.hold([job_id])
    await platform.finish(f"{job_id}.0-a1")
    assert await platform.runs(job_id) == "SRRRHH"
    assert await platform.states(job_id) == ["RUNNING"]
    await platform.control.release([job_id])
    await platform.settle()
    assert await platform.runs(job_id) == "SRRRRQ"


async def test_an_array_that_is_held_from_the_start_is_held(platform: Platform):
    (job_id,) = await platform.submit(a_spec(array=an_array(3), hold=True))
    assert await platform.states(job_id) == ["HELD"]
    await platform.control.release([f"{job_id}.1"])
    await platform.settle()
    assert await platform.runs(job_id) == "HRH"
    await platform.finish(f"{job_id}.1-a1")
    assert await platform.runs(job_id) == "HSH"
    assert await platform.states(job_id) == ["RUNNING"]


async def test_the_history_of_an_element_is_its_own(platform: Platform):
    (job_id,) = await platform.submit(a_spec(array=an_array(3)))
    await platform.finish(f"{job_id}.1-a1", exit_code=2)
    job = await platform.job(job_id)
    events = await platform.store.history(job.sequence, 0, 100, 1)
    assert [event.after.name for event in events] == ["QUEUED", "STARTING", "RUNNING", "FAILED"]
    assert "exit code 2" in events[-1].reason


async def test_neighbours_that_change_together_are_one_event(platform: Platform):
    (job_id,) = await platform.submit(a_spec(array=an_array(4)))
    job = await platform.job(job_id)
    events = await platform.store.history(job.sequence, 0, 100)
    starts = [each for each in events if each.after is JobState.STARTING and each.element == 0]
    assert [each.count for each in starts] == [4]


async def test_retrying_one_element_makes_an_array_of_it_alone(platform: Platform):
    (job_id,) = await platform.submit(a_spec(array=ArraySpec((Range(10, 12),))))
    await platform.finish(f"{job_id}.11-a1", exit_code=1)
    again = await platform.control.retry(f"{job_id}.11", "ada", "")
    assert again.spec.array == ArraySpec((Range(11, 11),))
    assert again.retry_of == f"{job_id}.11"


@pytest.fixture
async def large(tmp_path: Path) -> AsyncIterator[Platform]:
    """Elements end at once, those with less than 2 GiB for want of memory."""

    def script(gang: Gang, _role: str, _index: int) -> Behaviour:
        if gang.roles[0].resources.get("memory", 2 * GIB) < 2 * GIB:
            return Behaviour(exit_code=137, failure_class=FailureClass.OUT_OF_MEMORY)
        return Behaviour()

    platform = Platform(tmp_path, script, nodes_of(4, memory=4 * GIB))
    await platform.begin()
    yield platform
    await platform.end()


async def test_elements_that_ran_out_of_memory_get_more_within_the_arrays_limit(large: Platform):
    policy = RetryPolicy({FailureClass.OUT_OF_MEMORY: 1}, backoff_us=0)
    (job_id,) = await large.submit(
        a_spec(a_role(memory=GIB), array=an_array(20, max_parallel=3), retry=policy)
    )
    await large.advance(1)
    assert await large.states(job_id) == ["SUCCEEDED"]
    assert await large.runs(job_id) == "S" * 20
    assert large.starts(f"{job_id}.19-a2") == 1


async def test_thousands_of_elements_end_and_none_is_run_twice(large: Platform):
    (job_id,) = await large.submit(a_spec(a_role(cpu=10), array=an_array(2000)))
    for _ in range(20):
        await large.advance(1)
    assert await large.runs(job_id) == "S" * 2000
    names = [name for name, _, _ in large.cluster.started]
    assert len(names) == len(set(names)) == 2000
    assert len(await large.store.ends((await large.job(job_id)).sequence)) == 2000
