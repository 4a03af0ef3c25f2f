"""The asyncio face does what the synchronous one does, on a running event loop."""

from __future__ import annotations

import asyncio
import pickle
from typing import TYPE_CHECKING

import grpc
import pytest
from gridloom import errors
from gridloom.aio import AsyncClient, AsyncJob
from gridloom.api.objects.v1 import objects_pb2
from gridloom.api.scheduler.v1 import scheduler_pb2 as pb
from gridloom.client import Client
from gridloom.jobs.handle import Job
from gridloom.jobs.states import JobState

from tests.support.scripted import Abort
from tests.unit.sdk.jobs.examples import JOB, OTHER, job

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.scripted import ScriptedPlatform


@pytest.fixture
async def aio(client: Client) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(client) as aio:
        yield aio


def got(*states: str) -> list[pb.GetJobResponse]:
    return [pb.GetJobResponse(job=job(state)) for state in states]


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_both_faces_have_the_same_names():
    assert public(Client) <= public(AsyncClient)
    # Elements by the million are a list of the synchronous handle only.
    assert public(Job) - {"elements"} == public(AsyncJob)


async def test_a_job_is_submitted_followed_and_read(platform: ScriptedPlatform, aio: AsyncClient):
    platform.script("SubmitJobs", pb.SubmitJobsResponse(jobs=[job("QUEUED")]))
    platform.script("GetJob", *got("RUNNING", "SUCCEEDED"))
    watched = [pb.WatchJobsResponse(revision=1, job=job("SUCCEEDED")), None]
    platform.script("WatchJobs", watched)
    log = pb.ReadLogsResponse(role="main", data=b"one\ntwo\n", attempt=1)
    platform.script("ReadLogs", [log])
    handle = await aio.run(["true"])
    assert handle.id == JOB
    assert (await handle.result(timeout="10s")).exit_code == 0
    assert [line async for line in handle.logs()] == ["one", "two"]
    assert await handle.state is JobState.SUCCEEDED


async def test_the_loop_goes_on_while_a_job_is_waited_for(
    platform: ScriptedPlatform, aio: AsyncClient
):
    platform.script("GetJob", *got("RUNNING"))
    platform.script("WatchJobs", [None])
    handle = await aio.job(JOB)
    waiting = asyncio.create_task(handle.wait())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_errors_are_ours_and_silence_is_tried_again(
    platform: ScriptedPlatform, aio: AsyncClient
):
    platform.script("GetJob", Abort(grpc.StatusCode.UNAVAILABLE), *got("RUNNING"))
    assert (await aio.job(JOB)).info.state is JobState.RUNNING
    platform.script("GetJob", Abort(grpc.StatusCode.NOT_FOUND, "gone", reason="NOT_FOUND"))
    with pytest.raises(errors.NotFoundError, match="gone"):
        await aio.get(JOB)
    with pytest.raises(errors.InvalidRequestError, match='did you mean "cpus"'):
        await aio.run(["true"], cpu=1)  # type: ignore[call-arg]


async def test_a_wait_may_be_too_short(platform: ScriptedPlatform, aio: AsyncClient):
    platform.script("GetJob", *got("RUNNING"))
    platform.script("WatchJobs", [None])
    with pytest.raises(TimeoutError):
        await aio.wait([JOB], timeout=0.2)


async def test_a_stream_is_taken_up_where_it_broke_off(
    platform: ScriptedPlatform, aio: AsyncClient
):
    first = pb.ReadLogsResponse(role="main", data=b"a\nb", attempt=1)
    second = pb.ReadLogsResponse(role="main", data=b"\nc\n", offset=3, attempt=1)
    platform.script("GetJob", *got("RUNNING"))
    platform.script("ReadLogs", Abort(grpc.StatusCode.UNAVAILABLE, after=(first,)), [second])
    handle = await aio.job(JOB)
    assert [line async for line in handle.logs(follow=True)] == ["a", "b", "c"]
    assert [asked.offset for asked in platform.requests["ReadLogs"]] == [0, 3]


async def test_lists_are_read_as_they_are_asked_for(platform: ScriptedPlatform, aio: AsyncClient):
    pages = {
        "": pb.ListJobsResponse(jobs=[job()], next_page_token="2"),
        "2": pb.ListJobsResponse(jobs=[job("FAILED", OTHER)]),
    }
    platform.script("ListJobs", lambda request: pages[request.page_token])
    assert [each.id async for each in aio.jobs(limit=1)] == [JOB]
    assert len(platform.requests["ListJobs"]) == 1
    assert [each.id async for each in aio.jobs()] == [JOB, OTHER]


async def test_files_and_outputs_move_without_holding_the_loop(
    platform: ScriptedPlatform, aio: AsyncClient, tmp_path: Path
):
    done = job("SUCCEEDED")
    done.outputs.add(role="main", path="x").object.digest = "sha256:1"
    ref = objects_pb2.ObjectRef(digest="sha256:1", size_bytes=2)
    stat = objects_pb2.ObjectStat(exists=True)
    platform.script("StatObjects", objects_pb2.StatObjectsResponse(objects=[stat]))
    platform.script("SubmitJobs", pb.SubmitJobsResponse(jobs=[done]))
    platform.script("GetObject", [objects_pb2.GetObjectResponse(object=ref, chunk=b"ok")])
    handle = await aio.run(["true"], files={"x": b"ok"})
    outputs = await handle.outputs
    assert await outputs["x"].read_text() == "ok"
    assert await outputs.save(tmp_path) == [tmp_path / "x"]


async def test_a_pickled_handle_comes_out_as_a_synchronous_one(
    platform: ScriptedPlatform, aio: AsyncClient
):
    platform.script("GetJob", *got("RUNNING"))
    handle = await aio.job(JOB)
    again = await asyncio.to_thread(lambda: pickle.loads(pickle.dumps(handle)))
    assert isinstance(again, Job)
    assert again.id == handle.id
    again._client.close()
