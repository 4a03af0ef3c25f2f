"""What is accepted, what is refused and how, and that a request makes its job once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest
from gridloom_services.common.errors import (
    ConflictError,
    InvalidRequestError,
    QuotaExceededError,
)
from gridloom_services.scheduler.intake import Submission
from gridloom_services.scheduler.queue import Queue
from gridloom_services.scheduler.runtime.base import Feature, InputFile, Volume

from tests.support.scheduler import Platform, a_role, a_spec, nodes_of

if TYPE_CHECKING:
    from pathlib import Path

    from gridloom_services.scheduler.spec import JobSpec

DIGEST = "sha256:" + "7" * 64


async def refusal(platform: Platform, *specs: JobSpec) -> InvalidRequestError:
    """The refusal of a batch, of which then nothing was accepted."""
    with pytest.raises(InvalidRequestError) as caught:
        await platform.control.submit(Submission(specs, "ada"))
    assert (await platform.store.load()).jobs == ()
    return caught.value


# ---- idempotency


async def test_the_same_request_returns_the_job_that_it_made(platform: Platform):
    spec = a_spec(request_id="r")
    first = await platform.submit(spec)
    assert await platform.submit(spec) == first
    await platform.finish(f"{first[0]}-a1")
    assert await platform.submit(spec) == first
    await platform.restart()
    assert await platform.submit(spec) == first
    assert len(platform.cluster.started) == 1


async def test_requests_that_come_together_make_one_job(platform: Platform):
    submission = Submission((a_spec(request_id="r"),), "ada")
    answers = await asyncio.gather(*(platform.control.submit(submission) for _ in range(5)))
    assert len({jobs[0].id for jobs in answers}) == 1


async def test_the_same_request_with_another_specification_is_a_conflict(platform: Platform):
    (job_id,) = await platform.submit(a_spec(request_id="r"))
    with pytest.raises(ConflictError, match=job_id) as caught:
        await platform.submit(a_spec(request_id="r", priority=1))
    assert caught.value.details["field"] == "request_id"


async def test_projects_have_request_ids_of_their_own(platform: Platform):
    await platform.control.change_queues(lambda queues: queues.create(Queue("chem", "cpu")))
    one, two = await platform.submit(
        a_spec(request_id="r"), a_spec(request_id="r", project="chem", queue="cpu")
    )
    assert one != two


async def test_a_batch_that_is_half_known_makes_the_other_half(platform: Platform):
    (known,) = await platform.submit(a_spec(request_id="a"))
    found, fresh = await platform.submit(a_spec(request_id="a"), a_spec(request_id="b"))
    assert found == known
    assert fresh != known


async def test_a_request_id_stands_once_in_a_batch(platform: Platform):
    error = await refusal(platform, a_spec(request_id="a"), a_spec(request_id="a"))
    assert error.details["field"] == "jobs[1].request_id"


async def test_a_known_request_is_answered_even_where_it_would_be_refused_now(platform: Platform):
    deadline_us = round(platform.clock.now() * 1e6) + 10_000_000
    spec = a_spec(request_id="r", deadline_us=deadline_us)
    first = await platform.submit(spec)
    await platform.advance(100)
    assert await platform.submit(spec) == first


# ---- all or none


async def test_one_bad_job_refuses_the_batch(platform: Platform):
    error = await refusal(platform, a_spec(), a_spec(), a_spec(queue="gpuu"))
    assert error.details["field"] == "jobs[2].queue"


async def test_an_empty_batch_is_refused(platform: Platform):
    assert (await refusal(platform)).details["field"] == "jobs"


async def test_only_checking_accepts_nothing_and_gives_no_id(platform: Platform):
    submission = Submission((a_spec(hold=True), a_spec()), "ada", validate_only=True)
    held, queued = await platform.control.submit(submission)
    assert (held.id, held.state.name, queued.state.name) == ("", "HELD", "QUEUED")
    assert (await platform.store.load()).jobs == ()


# ---- queues


async def test_an_unknown_queue_is_refused_with_those_that_there_are(platform: Platform):
    await platform.control.change_queues(lambda queues: queues.create(Queue("default", "gpu")))
    error = await refusal(platform, a_spec(queue="gpuu"))
    assert str(error) == ('queue "gpuu" does not exist; queues of project "default": default, gpu')
    assert error.details["allowed"] == "default, gpu"


async def test_an_unknown_project_is_refused_with_those_that_there_are(platform: Platform):
    error = await refusal(platform, a_spec(project="chem"))
    assert str(error) == 'project "chem" does not exist; projects: default'


async def test_a_closed_queue_accepts_nothing(platform: Platform):
    await platform.control.change_queues(
        lambda queues: queues.update("default", "default", {"closed": True})
    )
    error = await refusal(platform, a_spec())
    assert "that queue is closed" in str(error)


async def test_the_queues_longest_time_limit_holds(platform: Platform):
    queue = Queue("default", "short", default_time_limit_s=60, max_time_limit_s=120)
    await platform.control.change_queues(lambda queues: queues.create(queue))
    error = await refusal(platform, a_spec(queue="short", time_limit_s=121))
    assert error.details["field"] == "time_limit"
    (job_id,) = await platform.submit(a_spec(queue="short"))
    assert (await platform.job(job_id)).time_limit_s == 60


async def test_a_gang_beyond_its_queues_quota_is_refused(platform: Platform):
    queue = Queue("default", "small", quota=MappingProxyType({"cpu": 1500}))
    await platform.control.change_queues(lambda queues: queues.create(queue))
    with pytest.raises(QuotaExceededError, match=r'"default/small" is 1\.5 cpu') as caught:
        await platform.submit(a_spec(a_role(replicas=2), queue="small"))
    assert caught.value.details["quota"] == "default/small:cpu"


async def test_a_queues_running_jobs_stay_within_its_quota(platform: Platform):
    queue = Queue("default", "small", quota=MappingProxyType({"cpu": 1500}))
    await platform.control.change_queues(lambda queues: queues.create(queue))
    one, two = await platform.submit(a_spec(queue="small"), a_spec(queue="small"))
    assert await platform.states(one, two) == ["RUNNING", "QUEUED"]
    await platform.finish(f"{one}-a1")
    assert await platform.states(two) == ["RUNNING"]


# ---- room


async def test_a_replica_larger_than_every_node_is_refused_naming_what_there_is(
    platform: Platform,
):
    error = await refusal(platform, a_spec(a_role(cpu=64_000)))
    assert error.details["field"] == "roles[0].resources.cpu"
    assert error.details["given"] == "64 cpu"
    assert "local (4 cpu, 8 GiB memory)" in str(error)


async def test_a_gang_larger_than_the_cluster_is_refused(tmp_path: Path):
    platform = Platform(tmp_path, nodes=nodes_of(2))
    await platform.begin()
    error = await refusal(platform, a_spec(a_role(cpu=3000, replicas=3)))
    assert "node0 (4 cpu, 8 GiB memory); node1" in str(error)
    await platform.submit(a_spec(a_role(cpu=3000, replicas=2)))
    await platform.end()


async def test_an_unknown_resource_is_refused(platform: Platform):
    role = replace(a_role(), resources=MappingProxyType({"cpu": 1, "nvidia.com/gpu": 1}))
    error = await refusal(platform, a_spec(role))
    assert error.details["field"] == "roles[0].resources.nvidia.com/gpu"


async def test_an_elastic_role_needs_room_for_its_least_only(platform: Platform):
    role = a_role(replicas=500, min_replicas=1, elastic=True)
    (job_id,) = await platform.submit(a_spec(role))
    assert await platform.states(job_id) == ["RUNNING"]


async def test_what_the_runtime_cannot_do_is_refused(platform: Platform):
    platform.control.core.fitness._features = frozenset({Feature.SECRETS})
    role = a_role(volumes=(Volume("claim", "/data"),))
    error = await refusal(platform, a_spec(role))
    assert error.details["field"] == "roles[0].volumes"


async def test_an_image_where_there_are_none_is_accepted_with_a_warning(platform: Platform):
    fitness = platform.control.core.fitness
    spec = a_spec(a_role(image="python:3.13"))
    assert fitness.warnings([spec]) == []
    fitness._features = frozenset({Feature.STDIN})
    (warning,) = fitness.warnings([spec, spec, a_spec()])
    assert warning.startswith('image "python:3.13" has no effect')
    await platform.submit(spec)


# ---- files


async def test_a_file_that_is_not_stored_is_refused_by_its_path(platform: Platform):
    platform.keeper.gone.add(DIGEST)
    role = a_role(files=(InputFile("in/data.csv", DIGEST, 3),))
    error = await refusal(platform, a_spec(), a_spec(role))
    assert error.details["field"] == "jobs[1].roles[0].files[0].object"
    assert "in/data.csv" in str(error)


async def test_an_input_that_is_not_stored_is_refused(platform: Platform):
    platform.keeper.gone.add(DIGEST)
    error = await refusal(platform, a_spec(a_role(stdin=InputFile("", DIGEST, 3))))
    assert error.details["field"] == "roles[0].stdin"
    assert "standard input" in str(error)


async def test_where_jobs_can_read_nothing_an_input_is_refused(platform: Platform):
    platform.control.core.fitness._features = frozenset()
    error = await refusal(platform, a_spec(a_role(stdin=InputFile("", DIGEST, 3))))
    assert error.details["field"] == "roles[0].stdin"
    assert "can have no standard input" in str(error)


@pytest.mark.parametrize("word", ["files", "stdin"])
async def test_files_are_kept_until_the_job_is_over(platform: Platform, word: str):
    file = InputFile("data", DIGEST, 3)
    role = a_role(**{word: (file,) if word == "files" else file})
    (job_id,) = await platform.submit(a_spec(role))
    assert platform.keeper.held == {f"{job_id}/inputs": {DIGEST}}
    platform.keeper.held.clear()
    await platform.restart()
    assert platform.keeper.held == {f"{job_id}/inputs": {DIGEST}}
    await platform.finish(f"{job_id}-a1")
    assert platform.keeper.held == {}


async def test_asking_again_for_a_job_that_is_over_keeps_no_files(platform: Platform):
    spec = a_spec(a_role(files=(InputFile("data", DIGEST, 3),)), request_id="r")
    (job_id,) = await platform.submit(spec)
    await platform.finish(f"{job_id}-a1")
    assert await platform.submit(spec) == [job_id]
    assert platform.keeper.held == {}
