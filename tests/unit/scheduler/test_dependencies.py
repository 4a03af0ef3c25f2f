"""Jobs that wait for other jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from gridloom_services.common.errors import InvalidRequestError
from gridloom_services.scheduler.eligibility import is_met
from gridloom_services.scheduler.intake import Submission
from gridloom_services.scheduler.queue import Queue
from gridloom_services.scheduler.spec import Condition, Dependency
from gridloom_services.scheduler.states import JobState

from tests.support.scheduler import a_role, a_spec, an_array

if TYPE_CHECKING:
    from gridloom_services.scheduler.spec import JobSpec

    from tests.support.scheduler import Platform

OK, ANY, FAILURE = Condition.AFTER_OK, Condition.AFTER_ANY, Condition.AFTER_FAILURE


def after(*others: str, condition: Condition = OK, **changes: object) -> JobSpec:
    return a_spec(dependencies=tuple(Dependency(each, condition) for each in others), **changes)


@pytest.mark.parametrize(
    ("condition", "states"),
    [(OK, "SUCCEEDED"), (ANY, "SUCCEEDED FAILED CANCELLED"), (FAILURE, "FAILED CANCELLED")],
)
def test_each_condition_is_met_by_its_ends_only(condition: Condition, states: str):
    met = [state.name for state in JobState if is_met(condition, state)]
    assert met == states.split()


@pytest.mark.parametrize(
    ("condition", "exit_code", "state"),
    [
        (OK, 0, "RUNNING"),
        (OK, 1, "CANCELLED"),
        (ANY, 0, "RUNNING"),
        (ANY, 1, "RUNNING"),
        (FAILURE, 0, "CANCELLED"),
        (FAILURE, 1, "RUNNING"),
    ],
)
async def test_a_job_starts_after_another_or_is_cancelled(
    platform: Platform, condition: Condition, exit_code: int, state: str
):
    (first,) = await platform.submit()
    (second,) = await platform.submit(after(first, condition=condition))
    assert await platform.states(second) == ["QUEUED"]
    await platform.finish(f"{first}-a1", exit_code=exit_code)
    assert await platform.states(second) == [state]
    if state == "CANCELLED":
        assert first in (await platform.job(second)).reason


async def test_a_job_waits_for_all_it_names(platform: Platform):
    one, two = await platform.submit(a_spec(), a_spec())
    (last,) = await platform.submit(after(one, two))
    await platform.finish(f"{one}-a1")
    assert await platform.states(last) == ["QUEUED"]
    await platform.finish(f"{two}-a1")
    assert await platform.states(last) == ["RUNNING"]


async def test_after_an_array_means_after_all_its_elements(platform: Platform):
    (array,) = await platform.submit(a_spec(array=an_array(2)))
    (last,) = await platform.submit(after(array))
    await platform.finish(f"{array}.0-a1")
    assert await platform.states(last) == ["QUEUED"]
    await platform.finish(f"{array}.1-a1")
    assert await platform.states(last) == ["RUNNING"]


async def test_what_is_over_already_counts(platform: Platform):
    (first,) = await platform.submit()
    await platform.finish(f"{first}-a1")
    (second,) = await platform.submit(after(first))
    assert await platform.states(second) == ["RUNNING"]
    (third,) = await platform.submit(after(first, condition=FAILURE))
    assert await platform.states(third) == ["CANCELLED"]


async def test_a_cancelled_chain_falls_to_its_end(platform: Platform):
    ids = await platform.submit()
    for _ in range(50):
        ids += await platform.submit(after(ids[-1]))
    await platform.finish(f"{ids[0]}-a1", exit_code=1)
    assert await platform.states(*ids) == ["FAILED"] + ["CANCELLED"] * 50


async def test_a_batch_may_name_its_own_members_by_request_id_in_any_order(platform: Platform):
    specs = [
        after("b", request_id="c"),
        after("a", request_id="b"),
        a_spec(request_id="a"),
    ]
    last, middle, first = await platform.submit(*specs)
    assert await platform.states(last, middle, first) == ["QUEUED", "QUEUED", "RUNNING"]
    for job_id in (first, middle):
        await platform.finish(f"{job_id}-a1")
    assert await platform.states(last) == ["RUNNING"]
    assert (await platform.job(last)).spec.dependencies == (Dependency(middle, OK),)


async def test_a_circle_is_refused_by_name_and_nothing_of_the_batch_is_accepted(
    platform: Platform,
):
    batch = [
        a_spec(request_id="free"),
        after("c", request_id="a"),
        after("a", request_id="b"),
        after("b", request_id="c"),
        after("c", request_id="behind"),
    ]
    with pytest.raises(
        InvalidRequestError, match=r"a -> c -> b -> a|b -> a -> c -> b|c -> b -> a -> c"
    ) as refusal:
        await platform.control.submit(Submission(tuple(batch), "ada"))
    assert refusal.value.details["field"] == "dependencies"
    assert "behind" not in refusal.value.details["given"]
    assert (await platform.store.load()).jobs == ()


async def test_a_job_that_waits_for_itself_is_a_circle(platform: Platform):
    with pytest.raises(InvalidRequestError, match="a -> a"):
        await platform.control.submit(Submission((after("a", request_id="a"),), "ada"))


async def test_a_long_chain_is_no_circle(platform: Platform):
    specs = [a_spec(request_id="0", hold=True)]
    specs += [after(str(number - 1), request_id=str(number)) for number in range(1, 3000)]
    ids = await platform.submit(*specs)
    assert len(set(ids)) == 3000


async def test_an_unknown_job_to_wait_for_is_refused(platform: Platform):
    with pytest.raises(InvalidRequestError, match='no job "job_none" to wait for'):
        await platform.submit(after("job_none"))


async def test_jobs_of_other_projects_are_not_waited_for(platform: Platform):
    await platform.control.change_queues(lambda queues: queues.create(Queue("chem", "cpu")))
    (other,) = await platform.submit(a_spec(project="chem", queue="cpu"))
    with pytest.raises(InvalidRequestError, match='jobs of project "default"'):
        await platform.submit(after(other))


async def test_the_same_job_is_named_once(platform: Platform):
    (first,) = await platform.submit()
    with pytest.raises(InvalidRequestError, match="each job once"):
        await platform.submit(after(first, first))


async def test_a_held_job_whose_dependency_fails_is_cancelled(platform: Platform):
    (first,) = await platform.submit()
    (second,) = await platform.submit(after(first, hold=True))
    await platform.finish(f"{first}-a1", exit_code=1)
    assert await platform.states(second) == ["CANCELLED"]


async def test_a_waiting_array_is_cancelled_whole(platform: Platform):
    (first,) = await platform.submit()
    (array,) = await platform.submit(after(first, array=an_array(5)))
    await platform.finish(f"{first}-a1", exit_code=1)
    assert await platform.runs(array) == "CCCCC"
    assert first in (await platform.job(array)).reason


async def test_what_waits_does_not_hold_up_others(platform: Platform):
    (first,) = await platform.submit(a_spec(a_role(cpu=3000)))
    waiting, other = await platform.submit(after(first, priority=100), a_spec())
    assert await platform.states(waiting, other) == ["QUEUED", "RUNNING"]
