"""The scheduler and the objects service in one process, over gRPC, with real processes as jobs."""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from gridloom.api.objects.v1 import objects_pb2, objects_pb2_grpc
from gridloom.api.scheduler.v1 import job_pb2, scheduler_pb2, scheduler_pb2_grpc
from gridloom_services.common.serve import Part, Platform
from gridloom_services.common.settings import ServerSettings
from gridloom_services.common.stop import Stop
from gridloom_services.objects import app as objects_app
from gridloom_services.objects.settings import ObjectsSettings
from gridloom_services.scheduler import app as scheduler_app
from gridloom_services.scheduler.settings import SchedulerSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FINAL = {job_pb2.JOB_STATE_SUCCEEDED, job_pb2.JOB_STATE_FAILED, job_pb2.JOB_STATE_CANCELLED}


class Running:
    """A platform in this process and the stubs to talk to it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._platform: Platform
        self._channel: grpc.aio.Channel
        self.stop_order: Stop
        self.metadata: tuple[tuple[str, str], ...] = ()
        self.scheduler: Any
        self.objects: Any

    async def begin(self) -> None:
        self.stop_order = Stop()
        self._platform = Platform(ServerSettings(home=self._home, grace_s=5.0), self.stop_order)
        await self._platform.start(
            [
                Part("objects", objects_app.build, ObjectsSettings()),
                Part("scheduler", scheduler_app.build, SchedulerSettings(cpus=8)),
            ]
        )
        token = (self._home / "token").read_text()
        self.metadata = (("authorization", f"Bearer {token}"),)
        self._channel = grpc.aio.insecure_channel(self._platform.address)
        self.scheduler = scheduler_pb2_grpc.SchedulerServiceStub(self._channel)
        self.objects = objects_pb2_grpc.ObjectsServiceStub(self._channel)

    async def end(self) -> None:
        await self._channel.close()
        await self._platform.stop()

    async def submit(self, *specs: job_pb2.JobSpec) -> list[str]:
        request = scheduler_pb2.SubmitJobsRequest(jobs=specs)
        answer = await self.scheduler.SubmitJobs(request, metadata=self.metadata)
        return [job.id for job in answer.jobs]

    async def get(self, job_id: str) -> job_pb2.Job:
        request = scheduler_pb2.GetJobRequest(job_id=job_id)
        return (await self.scheduler.GetJob(request, metadata=self.metadata)).job

    async def ended(self, job_id: str) -> job_pb2.Job:
        """The job once it is over."""
        chosen = scheduler_pb2.JobFilter(job_ids=[job_id])
        call = self.scheduler.WatchJobs(
            scheduler_pb2.WatchJobsRequest(filter=chosen), metadata=self.metadata, timeout=60
        )
        async for answer in call:
            if answer.job.state in FINAL:
                call.cancel()
                break
        return await self.get(job_id)

    async def logs(self, job_id: str, **query: Any) -> bytes:
        request = scheduler_pb2.ReadLogsRequest(job_id=job_id, **query)
        call = self.scheduler.ReadLogs(request, metadata=self.metadata, timeout=60)
        return b"".join([answer.data async for answer in call])

    async def put(self, data: bytes) -> objects_pb2.ObjectRef:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        ref = objects_pb2.ObjectRef(digest=digest, size_bytes=len(data))

        async def parts() -> AsyncIterator[objects_pb2.PutObjectRequest]:
            yield objects_pb2.PutObjectRequest(
                header=objects_pb2.PutObjectRequest.Header(object=ref)
            )
            yield objects_pb2.PutObjectRequest(chunk=data)

        await self.objects.PutObject(parts(), metadata=self.metadata)
        return ref


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    running = Running(tmp_path / "home")
    await running.begin()
    yield running
    await running.end()


def python(code: str, **changes: Any) -> job_pb2.JobSpec:
    """A job of one role that runs this program."""
    role = job_pb2.Role(command=[sys.executable, "-c", code])
    for field in ("files", "outputs", "env", "replicas", "resources"):
        if field in changes:
            setting = changes.pop(field)
            role.MergeFrom(job_pb2.Role(**{field: setting}))
    return job_pb2.JobSpec(roles=[role], **changes)


async def test_a_command_runs_and_its_output_can_be_read_afterwards(running: Running):
    (job_id,) = await running.submit(python("print('hello'); import sys; sys.exit(3)"))
    job = await running.ended(job_id)
    assert job.state == job_pb2.JOB_STATE_FAILED
    assert job.exit_code == 3
    assert job.failure_class == job_pb2.FAILURE_CLASS_APPLICATION_ERROR
    assert await running.logs(job_id) == b"hello\n"
    assert job.ended_at.ToMicroseconds() >= job.started_at.ToMicroseconds() > 0
