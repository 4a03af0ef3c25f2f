from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest
from gridloom.api.scheduler.v1 import scheduler_pb2
from gridloom_services.common.errors import InvalidRequestError
from gridloom_services.scheduler.explain import PendingReason
from gridloom_services.scheduler.queue import Queue
from gridloom_services.scheduler.runtime.base import NodeCapacity
from gridloom_services.scheduler.spec import Condition, Dependency, RetryPolicy
from gridloom_services.scheduler.states import FailureClass

from tests.support.scheduler import Platform, a_role, a_spec, an_array

if TYPE_CHECKING:
    from pathlib import Path

    from gridloom_services.scheduler.explain import Answer


_WITH_GPUS = {"cpu": 4000, "memory": 8 << 30, "nvidia.com/gpu": 4}


async def why(platform: Platform, identifier: str) -> Answer:
    (target,) = await platform.control.targets([identifier])
    return platform.control.explain(target)


def test_the_reasons_are_those_of_the_api():
    names = {
        name.removeprefix("PENDING_REASON_")
        for name in scheduler_pb2.PendingReason.DESCRIPTOR.values_by_name
    }
    assert {reason.name for reason in PendingReason} == names - {"UNSPECIFIED"}


async def test_what_runs_or_is_over_does_not_wait(platform: Platform):
    (job_id,) = await platform.submit()
    assert (await why(platform, job_id)).reason is PendingReason.NONE
    await platform.finish(f"{job_id}-a1")
    answer = await why(platform, job_id)
    assert (answer.reason, answer.message) == (PendingReason.NONE, f"{job_id} is over: SUCCEEDED")


async def test_a_held_job_waits_for_its_release(platform: Platform):
    (job_id,) = await platform.submit(a_spec(hold=True))
    assert (await why(platform, job_id)).reason is PendingReason.HELD


async def test_a_dependent_job_waits_for_those_it_names(platform: Platform):
    (first,) = await platform.submit()
    (second,) = await platform.submit(a_spec(dependencies=(Dependency(first, Condition.AFTER_OK),)))
    answer = await why(platform, second)
    assert (answer.reason, answer.message) == (
        PendingReason.DEPENDENCY,
        f"it waits for {first}",
    )


async def test_a_start_time_is_told(platform: Platform):
    start_us = round(platform.clock.now() * 1e6) + 3600_000_000
    (job_id,) = await platform.submit(a_spec(start_after_us=start_us))
    answer = await why(platform, job_id)
    assert answer.reason is PendingReason.START_AFTER
    assert answer.message == "not to be started before 2001-09-09 02:46:40 UTC"


async def test_a_retry_waits_for_the_end_of_its_pause(platform: Platform):
    policy = RetryPolicy({FailureClass.APPLICATION_ERROR: 1}, backoff_us=60_000_000)
    job, array = await platform.submit(
        a_spec(retry=policy), a_spec(array=an_array(2), retry=policy)
    )
    await platform.finish(f"{job}-a1", exit_code=1)
    await platform.finish(f"{array}.1-a1", exit_code=1)
    for identifier in (job, f"{array}.1"):
        answer = await why(platform, identifier)
        assert answer.reason is PendingReason.RETRY_BACKOFF
        assert answer.message == "tried again at 2001-09-09 01:47:40 UTC"


async def test_what_is_short_is_named_with_what_is_ahead(platform: Platform):
    _, second, third = await platform.submit(
        a_spec(a_role(cpu=3000)), a_spec(a_role(cpu=2000)), a_spec(a_role(cpu=4000))
    )
    answer = await why(platform, second)
    assert answer.reason is PendingReason.RESOURCES
    assert (answer.resource, answer.asked, answer.available) == ("cpu", 2000, 1000)
    assert answer.promised_start_us is not None
    behind = await why(platform, third)
    assert behind.ahead == (second,)
    assert behind.ahead_count == 1
    assert "1 job is ahead of it" in behind.message


async def test_room_that_is_kept_for_devices_is_not_taken_for_free(tmp_path: Path):
    plain = NodeCapacity("plain", {"cpu": 4000, "memory": 8 << 30})
    platform = Platform(tmp_path, nodes=(plain, replace(plain, name="gpus", capacity=_WITH_GPUS)))
    await platform.begin()
    _, second = await platform.submit(a_spec(a_role(cpu=3000)), a_spec(a_role(cpu=3000)))
    answer = await why(platform, second)
    assert (answer.asked, answer.available) == (3000, 1000)
    assert "nodes with devices are kept for those who ask for some" in answer.message
    await platform.end()


async def test_what_fits_only_without_others_waits_for_them_to_go(tmp_path: Path):
    empty = NodeCapacity("n1", {"cpu": 4000})
    platform = Platform(
        tmp_path, nodes=(replace(empty, capacity={"cpu": 1500}, at_best={"cpu": 4000}),)
    )
    await platform.begin()
    (job_id,) = await platform.submit(a_spec(a_role(cpu=3000, memory=0)))
    answer = await why(platform, job_id)
    assert (answer.reason, answer.available) == (PendingReason.NODES_TOO_SMALL, 1500)
    assert "others" in answer.message
    with pytest.raises(InvalidRequestError, match="at most 4 cpu"):
        await platform.submit(a_spec(a_role(cpu=5000, memory=0)))
    platform.cluster.set_nodes((empty,))
    await platform.settle()
    assert (await why(platform, job_id)).reason is PendingReason.NONE
    await platform.end()


async def test_a_quota_is_named(platform: Platform):
    queue = Queue("default", "small", quota=MappingProxyType({"cpu": 1000}))
    await platform.control.change_queues(lambda queues: queues.create(queue))
    _, second = await platform.submit(a_spec(queue="small"), a_spec(queue="small"))
    answer = await why(platform, second)
    assert answer.reason is PendingReason.QUEUE_QUOTA
    assert "default/small" in answer.message


async def test_an_arrays_own_limit_is_named(platform: Platform):
    (job_id,) = await platform.submit(a_spec(array=an_array(4, max_parallel=2)))
    assert (await why(platform, job_id)).reason is PendingReason.ARRAY_LIMIT
    assert (await why(platform, f"{job_id}.3")).reason is PendingReason.ARRAY_LIMIT
    assert (await why(platform, f"{job_id}.0")).reason is PendingReason.NONE


async def test_a_closed_queue_is_named(platform: Platform):
    _, waiting = await platform.submit(a_spec(a_role(cpu=4000)), a_spec())
    await platform.control.change_queues(
        lambda queues: queues.update("default", "default", {"closed": True})
    )
    assert (await why(platform, waiting)).reason is PendingReason.QUEUE_CLOSED
