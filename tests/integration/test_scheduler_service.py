"""The scheduler and the objects service in one process, over gRPC, with real processes as jobs."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2
from gridloom.api.objects.v1 import objects_pb2, objects_pb2_grpc
from gridloom.api.scheduler.v1 import job_pb2, scheduler_pb2, scheduler_pb2_grpc
from gridloom_services.common.serve import Part, Platform
from gridloom_services.common.settings import ServerSettings
from gridloom_services.common.stop import Stop
from gridloom_services.functions.pools.jobs import JobIsOverError, PoolJob
from gridloom_services.functions.pools.scheduler_jobs import SchedulerPoolJobs
from gridloom_services.functions.pools.spec import PoolSpec
from gridloom_services.objects import app as objects_app
from gridloom_services.objects.settings import ObjectsSettings
from gridloom_services.scheduler import app as scheduler_app
from gridloom_services.scheduler.settings import SchedulerSettings
from grpc_status import rpc_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.asyncio(loop_scope="module")

FINAL = {job_pb2.JOB_STATE_SUCCEEDED, job_pb2.JOB_STATE_FAILED, job_pb2.JOB_STATE_CANCELLED}


class Running:
    """A platform in this process and the stubs to talk to it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._platform: Platform
        self.channel: grpc.aio.Channel
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
        self.channel = grpc.aio.insecure_channel(self._platform.address)
        self.scheduler = scheduler_pb2_grpc.SchedulerServiceStub(self.channel)
        self.objects = objects_pb2_grpc.ObjectsServiceStub(self.channel)

    async def end(self) -> None:
        await self.channel.close()
        await self._platform.stop()

    async def submit(self, *specs: job_pb2.JobSpec) -> list[str]:
        request = scheduler_pb2.SubmitJobsRequest(jobs=specs)
        answer = await self.scheduler.SubmitJobs(request, metadata=self.metadata)
        return [job.id for job in answer.jobs]

    async def get(self, job_id: str) -> job_pb2.Job:
        request = scheduler_pb2.GetJobRequest(job_id=job_id)
        return (await self.scheduler.GetJob(request, metadata=self.metadata)).job

    async def until_replicas(self, job_id: str, count: int) -> None:
        """Return when so many are there."""
        chosen = scheduler_pb2.JobFilter(job_ids=[job_id])
        call = self.scheduler.WatchJobs(
            scheduler_pb2.WatchJobsRequest(filter=chosen), metadata=self.metadata, timeout=60
        )
        async for answer in call:
            if len(answer.job.replicas) == count:
                call.cancel()
                break

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

    async def printed(self, job_id: str, mark: bytes) -> bytes:
        """What a job has printed once the mark is in it."""
        request = scheduler_pb2.ReadLogsRequest(job_id=job_id, follow=True)
        call = self.scheduler.ReadLogs(request, metadata=self.metadata, timeout=60)
        data = b""
        async for answer in call:
            data += answer.data
            if mark in data and data.endswith(b"\n"):
                call.cancel()
                return data
        pytest.fail(f"the job ended with {data!r}")

    async def content(self, digest: str) -> bytes:
        call = self.objects.GetObject(
            objects_pb2.GetObjectRequest(digest=digest), metadata=self.metadata
        )
        return b"".join([answer.chunk async for answer in call])

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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """One platform for all tests of this file that do not stop it."""
    running = Running(tmp_path_factory.mktemp("platform") / "home")
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


async def refusal(call: Any) -> tuple[grpc.StatusCode, dict[str, str]]:
    """Status and details of a call that is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status = rpc_status.from_call(caught.value)
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    return caught.value.code(), dict(info.metadata)


async def test_a_command_runs_and_its_output_can_be_read_afterwards(running: Running):
    (job_id,) = await running.submit(python("print('hello'); import sys; sys.exit(3)"))
    job = await running.ended(job_id)
    assert job.state == job_pb2.JOB_STATE_FAILED
    assert job.exit_code == 3
    assert job.failure_class == job_pb2.FAILURE_CLASS_APPLICATION_ERROR
    assert await running.logs(job_id) == b"hello\n"
    assert job.ended_at.ToMicroseconds() >= job.started_at.ToMicroseconds() > 0


async def test_a_message_of_defaults_is_filled_in(running: Running):
    (job_id,) = await running.submit(python("pass"))
    spec = (await running.ended(job_id)).spec
    assert (spec.project, spec.queue, spec.kind) == ("default", "default", "command")
    assert (spec.roles[0].name, spec.roles[0].replicas) == ("main", 1)
    assert dict(spec.roles[0].resources) == {"cpu": 1000}
    assert spec.time_limit.seconds == 7 * 24 * 3600


async def test_files_travel_with_the_job_and_come_back(running: Running):
    ref = await running.put(b"1,2,3")
    code = "d = open('in/data.csv').read().split(','); open('sum.txt', 'w').write(str(len(d)))"
    spec = python(
        code,
        files=[job_pb2.InputFile(path="in/data.csv", object=ref)],
        outputs=["*.txt"],
    )
    (job_id,) = await running.submit(spec)
    job = await running.ended(job_id)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.reason
    (output,) = job.outputs
    assert (output.role, output.index, output.path) == ("main", 0, "sum.txt")
    assert await running.content(output.object.digest) == b"3"


async def test_a_file_that_was_not_sent_is_refused(running: Running):
    ref = objects_pb2.ObjectRef(digest="sha256:" + "5" * 64, size_bytes=1)
    spec = python("pass", files=[job_pb2.InputFile(path="data", object=ref)])
    code, details = await refusal(running.submit(spec))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details["field"] == "roles[0].files[0].object"


async def test_elements_know_their_number(running: Running):
    code = "import os; print(os.environ['GRIDLOOM_ARRAY_INDEX'], os.environ['TWICE'])"
    spec = python(code, env={"TWICE": "{index}{index}"})
    spec.array.ranges.add(first=3, last=5)
    (job_id,) = await running.submit(spec)
    job = await running.ended(job_id)
    assert [(run.first, run.count, run.state) for run in job.array.runs] == [
        (0, 3, job_pb2.JOB_STATE_SUCCEEDED)
    ]
    assert sorted((await running.logs(job_id)).splitlines()) == [b"3 33", b"4 44", b"5 55"]
    element = await running.get(f"{job_id}.4")
    assert (element.element, element.state) == (4, job_pb2.JOB_STATE_SUCCEEDED)
    assert await running.logs(f"{job_id}.4") == b"4 44\n"


async def test_logs_are_followed_while_they_are_written(running: Running):
    code = "import time\nfor i in range(3): print(i, flush=True); time.sleep(0.1)"
    (job_id,) = await running.submit(python(code))
    assert await running.logs(job_id, follow=True) == b"0\n1\n2\n"
    assert (await running.ended(job_id)).state == job_pb2.JOB_STATE_SUCCEEDED
    assert await running.logs(job_id, tail_lines=1) == b"2\n"
    assert await running.logs(job_id, offset=2) == b"1\n2\n"


async def test_a_running_job_is_cancelled_with_its_children(running: Running):
    code = "import subprocess, sys; print('up', flush=True); subprocess.run(['sleep', '600'])"
    (job_id,) = await running.submit(python(code))
    await running.printed(job_id, b"up")
    request = scheduler_pb2.CancelJobsRequest(job_ids=[job_id], reason="enough")
    request.grace.FromMilliseconds(500)
    await running.scheduler.CancelJobs(request, metadata=running.metadata)
    job = await running.ended(job_id)
    assert (job.state, job.reason) == (job_pb2.JOB_STATE_CANCELLED, "enough")


async def test_a_gang_of_two_roles_runs_together(running: Running):
    spec = python("import os; print(os.environ['GRIDLOOM_REPLICA_INDEX'])", replicas=2)
    spec.roles[0].name = "left"
    spec.roles.add().CopyFrom(spec.roles[0])
    spec.roles[1].name = "right"
    (job_id,) = await running.submit(spec)
    job = await running.ended(job_id)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED
    assert [(each.role, each.index) for each in job.replicas] == [
        ("left", 0),
        ("left", 1),
        ("right", 0),
        ("right", 1),
    ]
    assert await running.logs(job_id, role="right", index=1) == b"1\n"


async def test_a_time_limit_ends_a_job(running: Running):
    spec = python("import time; time.sleep(600)")
    spec.time_limit.seconds = 1
    (job_id,) = await running.submit(spec)
    job = await running.ended(job_id)
    assert job.failure_class == job_pb2.FAILURE_CLASS_TIME_LIMIT


async def test_a_program_that_does_not_exist_fails_with_127(running: Running):
    spec = job_pb2.JobSpec(roles=[job_pb2.Role(command=["/no/such/program"])])
    (job_id,) = await running.submit(spec)
    assert (await running.ended(job_id)).exit_code == 127


async def test_a_command_runs_beside_a_job(running: Running):
    (job_id,) = await running.submit(
        python(
            "import time; open('mark', 'w').write('x'); print('up', flush=True); time.sleep(600)"
        )
    )
    await running.printed(job_id, b"up")
    start = scheduler_pb2.ExecJobRequest.Start(
        job_id=job_id, command=["sh", "-c", "cat mark -; exit 7"]
    )
    requests = [
        scheduler_pb2.ExecJobRequest(start=start),
        scheduler_pb2.ExecJobRequest(stdin=b"hello"),
        scheduler_pb2.ExecJobRequest(stdin_closed=True),
    ]
    answers = [
        each async for each in running.scheduler.ExecJob(iter(requests), metadata=running.metadata)
    ]
    assert b"".join(each.stdout for each in answers) == b"xhello"
    assert answers[-1].exit_code == 7
    cancel = scheduler_pb2.CancelJobsRequest(job_ids=[job_id])
    await running.scheduler.CancelJobs(cancel, metadata=running.metadata)
    await running.ended(job_id)


async def test_refusals_carry_field_value_and_choices(running: Running):
    code, details = await refusal(running.submit(python("pass", queue="gpuu")))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert (details["field"], details["given"], details["allowed"]) == ("queue", "gpuu", "default")
    code, details = await refusal(running.get("job_none"))
    assert code is grpc.StatusCode.NOT_FOUND
    code, details = await refusal(running.submit(python("pass", resources={"cpu": 10**9})))
    assert details["field"] == "roles[0].resources.cpu"
    assert "local" in details["allowed"]


async def test_jobs_are_listed_by_pages_newest_first(running: Running):
    ids = await running.submit(*(python("pass", labels={"page": "x"}, hold=True) for _ in range(5)))
    chosen = scheduler_pb2.JobFilter(label_selector="page=x")
    found, token = [], ""
    while True:
        request = scheduler_pb2.ListJobsRequest(filter=chosen, page_size=2, page_token=token)
        answer = await running.scheduler.ListJobs(request, metadata=running.metadata)
        found += [job.id for job in answer.jobs]
        token = answer.next_page_token
        if not token:
            break
    assert found == ids[::-1]
    cancel = scheduler_pb2.CancelJobsRequest(job_ids=ids)
    answer = await running.scheduler.CancelJobs(cancel, metadata=running.metadata)
    assert {job.state for job in answer.jobs} == {job_pb2.JOB_STATE_CANCELLED}


async def test_history_is_listed_oldest_first(running: Running):
    (job_id,) = await running.submit(python("pass"))
    await running.ended(job_id)
    request = scheduler_pb2.ListJobEventsRequest(job_id=job_id)
    answer = await running.scheduler.ListJobEvents(request, metadata=running.metadata)
    assert [event.to_state for event in answer.events] == [2, 3, 4, 5]


async def test_queues_and_nodes(running: Running):
    queue = scheduler_pb2.Queue(project="chem", name="cpu", quota={"cpu": 2000})
    answer = await running.scheduler.CreateQueue(
        scheduler_pb2.CreateQueueRequest(queue=queue), metadata=running.metadata
    )
    assert answer.queue.default_time_limit.seconds > 0
    change = scheduler_pb2.Queue(project="chem", name="cpu", priority=3)
    answer = await running.scheduler.UpdateQueue(
        scheduler_pb2.UpdateQueueRequest(queue=change, fields=["priority"]),
        metadata=running.metadata,
    )
    assert (answer.queue.priority, dict(answer.queue.quota)) == (3, {"cpu": 2000})
    await running.scheduler.DeleteQueue(
        scheduler_pb2.DeleteQueueRequest(project="chem", name="cpu"), metadata=running.metadata
    )
    answer = await running.scheduler.ListQueues(
        scheduler_pb2.ListQueuesRequest(), metadata=running.metadata
    )
    assert [each.name for each in answer.queues] == ["default"]
    nodes = await running.scheduler.ListNodes(
        scheduler_pb2.ListNodesRequest(), metadata=running.metadata
    )
    assert nodes.nodes[0].capacity["cpu"] == 8000
    assert nodes.nodes[0].schedulable


async def test_a_gangs_token_is_good_for_its_job_while_it_runs(running: Running):
    code = "import os, time; print(os.environ['GRIDLOOM_TOKEN'], flush=True); time.sleep(600)"
    (job_id,) = await running.submit(python(code))
    token = (await running.printed(job_id, b"glt1")).split()[0].decode()
    gang = (("authorization", f"Bearer {token}"),)
    answer = await running.scheduler.GetJob(
        scheduler_pb2.GetJobRequest(job_id=job_id), metadata=gang
    )
    assert answer.job.id == job_id
    code, _ = await refusal(
        running.scheduler.HoldJobs(scheduler_pb2.HoldJobsRequest(job_ids=[job_id]), metadata=gang)
    )
    assert code is grpc.StatusCode.PERMISSION_DENIED
    await running.scheduler.CancelJobs(
        scheduler_pb2.CancelJobsRequest(job_ids=[job_id]), metadata=running.metadata
    )
    await running.ended(job_id)
    code, _ = await refusal(
        running.scheduler.GetJob(scheduler_pb2.GetJobRequest(job_id=job_id), metadata=gang)
    )
    assert code is grpc.StatusCode.UNAUTHENTICATED


async def test_demand_is_told(running: Running):
    call = running.scheduler.WatchDemand(
        scheduler_pb2.WatchDemandRequest(), metadata=running.metadata
    )
    answer = await call.read()
    assert answer.capacity["cpu"] == 8000
    assert answer.waiting_jobs == 0
    call.cancel()


class OneChannel:
    """As services find each other."""

    def __init__(self, running: Running) -> None:
        self.metadata = running.metadata
        self._channel = running.channel

    def channel(self, _: str) -> grpc.aio.Channel:
        return self._channel


async def test_a_pools_job_is_found_again_after_a_crash_though_more_workers_are_wanted_now(
    running: Running, tmp_path: Path
):
    stay = tmp_path / "stay"
    stay.write_text("#!/bin/sh\nexec sleep 60\n")
    stay.chmod(0o755)
    jobs = SchedulerPoolJobs(OneChannel(running), dict)
    spec = PoolSpec(b"", "default", python=str(stay), resources={"cpu": 1000})
    asked = PoolJob("pool_1", f"pool_1-{tmp_path.name}", spec, 1)
    job_id = await jobs.submit(asked)
    assert await jobs.submit(replace(asked, workers=2)) == job_id
    await running.until_replicas(job_id, 2)
    await jobs.cancel(job_id, "over")
    await running.ended(job_id)
    for workers in (1, 2):
        with pytest.raises(JobIsOverError):
            await jobs.submit(replace(asked, workers=workers))


async def test_jobs_go_on_while_the_platform_is_down_and_are_adopted(tmp_path: Path):
    running = Running(tmp_path / "home")
    await running.begin()
    code = (
        "import os, time; print('up', flush=True)\n"
        "while not os.path.exists('stop'): time.sleep(0.02)\n"
        "print('down')"
    )
    gone, kept = await running.submit(python(code), python(code))
    for job_id in (gone, kept):
        await running.printed(job_id, b"up")
    await running.end()
    _tell(tmp_path, gone)
    await running.begin()
    assert (await running.ended(gone)).state == job_pb2.JOB_STATE_SUCCEEDED
    job = await running.get(kept)
    assert (job.state, job.attempt) == (job_pb2.JOB_STATE_RUNNING, 1)
    _tell(tmp_path, kept)
    assert (await running.ended(kept)).state == job_pb2.JOB_STATE_SUCCEEDED
    assert await running.logs(kept) == b"up\ndown\n"
    await running.end()


def _tell(folder: Path, job_id: str) -> None:
    """Make a job's program stop, by the file that it waits for."""
    (work,) = (folder / "home/scheduler/gangs").glob(f"{job_id}-a1/**/work")
    (work / "stop").touch()
