from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest
from gridloom_services.common.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
)
from gridloom_services.scheduler.queue import Queue

from tests.support.scheduler import a_role, a_spec

if TYPE_CHECKING:
    from tests.support.scheduler import Platform


async def make(platform: Platform, queue: Queue) -> None:
    await platform.control.change_queues(lambda queues: queues.create(queue))


async def test_a_queue_is_there_after_a_restart_and_gone_after_its_removal(platform: Platform):
    queue = Queue("chem", "gpu", quota=MappingProxyType({"cpu": 1}), priority=5, description="x")
    await make(platform, queue)
    await platform.restart()
    assert platform.control.core.queues.find("chem", "gpu") == queue
    await platform.control.change_queues(lambda queues: queues.delete("chem", "gpu"))
    await platform.restart()
    with pytest.raises(NotFoundError, match='queues of project "chem": none'):
        platform.control.core.queues.find("chem", "gpu")


async def test_a_queue_is_made_once(platform: Platform):
    with pytest.raises(AlreadyExistsError, match='queue "default"'):
        await make(platform, Queue("default", "default"))


async def test_a_queue_with_jobs_is_not_taken_away(platform: Platform):
    (job_id,) = await platform.submit()
    with pytest.raises(ConflictError, match="still has 1 jobs"):
        await platform.control.change_queues(lambda queues: queues.delete("default", "default"))
    await platform.finish(f"{job_id}-a1")
    await platform.control.change_queues(lambda queues: queues.delete("default", "default"))
    assert platform.control.core.queues.views() == []


@pytest.mark.parametrize(
    ("queue", "field"),
    [
        (Queue("default", "Not Good"), "name"),
        (Queue("a_b", "q"), "project"),
        (Queue("default", "q", quota=MappingProxyType({"cpu": -1})), "quota.cpu"),
        (Queue("default", "q", priority=99_999), "priority"),
        (Queue("default", "q", default_time_limit_s=0), "default_time_limit"),
        (Queue("default", "q", default_time_limit_s=9, max_time_limit_s=8), "default_time_limit"),
        (Queue("default", "q", description="x" * 2000), "description"),
    ],
)
async def test_a_queue_that_makes_no_sense_is_refused(platform: Platform, queue: Queue, field: str):
    with pytest.raises(InvalidRequestError) as caught:
        await make(platform, queue)
    assert caught.value.details["field"] == field


async def test_views_tell_what_is_used_and_how_many_wait(platform: Platform):
    await make(platform, Queue("chem", "cpu"))
    await platform.submit(a_spec(a_role(cpu=3000)), a_spec(a_role(cpu=2000)), a_spec(hold=True))
    chem, default = platform.control.core.queues.views()
    assert (chem.queue.key, chem.queued_jobs, chem.running_jobs) == ("chem/cpu", 0, 0)
    assert (default.queued_jobs, default.running_jobs) == (2, 1)
    assert default.used["cpu"] == 3000
    assert [view.queue.key for view in platform.control.core.queues.views("chem")] == ["chem/cpu"]


async def test_a_queues_priority_counts_for_each_of_its_jobs(platform: Platform):
    await make(platform, Queue("default", "urgent", priority=10))
    (running,) = await platform.submit(a_spec(a_role(cpu=4000)))
    await platform.submit(a_spec(a_role(cpu=4000), priority=9))
    (urgent,) = await platform.submit(a_spec(a_role(cpu=4000), queue="urgent"))
    await platform.finish(f"{running}-a1")
    assert await platform.states(urgent) == ["RUNNING"]


async def test_closing_a_queue_starts_nothing_more_and_lets_run_what_runs(platform: Platform):
    running, waiting = await platform.submit(a_spec(a_role(cpu=4000)), a_spec())
    close = {"closed": True}
    await platform.control.change_queues(lambda q: q.update("default", "default", close))
    await platform.finish(f"{running}-a1")
    assert await platform.states(running, waiting) == ["SUCCEEDED", "QUEUED"]
    await platform.control.change_queues(
        lambda q: q.update("default", "default", {"closed": False})
    )
    await platform.settle()
    assert await platform.states(waiting) == ["RUNNING"]
