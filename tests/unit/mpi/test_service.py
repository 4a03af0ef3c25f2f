"""The service between its caller and the scheduler."""

from __future__ import annotations

import pytest
from gridloom.api.mpi.v1 import mpi_pb2
from gridloom.api.objects.v1 import objects_pb2
from gridloom.api.scheduler.v1 import job_pb2
from gridloom_services.common.auth import Principal, set_current_principal
from gridloom_services.common.errors import InvalidRequestError, VersionMismatchError
from gridloom_services.common.permissions import RULES
from gridloom_services.common.roles import Role
from gridloom_services.common.worker_images import WorkerImages
from gridloom_services.mpi.service import MpiServicer

NO_IMAGES = WorkerImages()
IMAGES = WorkerImages({"3.11": "lab/worker:py3.11", "3.13": "lab/worker:py3.13"})
WORDS = (("authorization", "Bearer ada"), ("user-agent", "x"))


class Scheduler:
    """Notes what it is asked, and by whom."""

    def __init__(self) -> None:
        self.asked: list[tuple[job_pb2.JobSpec, object, bool]] = []

    async def submit(self, spec, caller, *, validate_only):
        self.asked.append((spec, caller, validate_only))
        return job_pb2.Job(id="job_1", spec=spec)


class Context:
    def invocation_metadata(self):
        return WORDS


@pytest.fixture
def scheduler():
    rule = RULES["/gridloom.api.mpi.v1.MpiService/SubmitMpiJob"]
    set_current_principal(Principal("ada", project="chem", role=Role.SUBMITTER), rule)
    return Scheduler()


def spec_of(**changes) -> mpi_pb2.MpiJobSpec:
    rank = job_pb2.Role(replicas=4, command=["./solver"], env={"A": "1"}, resources={"cpu": 1000})
    return mpi_pb2.MpiJobSpec(
        job=job_pb2.JobSpec(name="heat", request_id="r"), rank=rank, **changes
    )


async def submitted(scheduler, spec, *, validate_only=False, images=NO_IMAGES):
    servicer = MpiServicer(scheduler, "mpich", images)
    request = mpi_pb2.SubmitMpiJobRequest(spec=spec, validate_only=validate_only)
    await servicer.SubmitMpiJob(request, Context())
    return scheduler.asked[-1]


async def test_the_job_is_submitted_in_the_caller_s_own_name_and_project(scheduler):
    job, caller, validate_only = await submitted(scheduler, spec_of())
    assert caller == (("authorization", "Bearer ada"),)
    assert (job.project, job.kind, job.name, validate_only) == ("chem", "mpi", "heat", False)


async def test_the_role_of_ranks_keeps_what_was_said_of_it(scheduler):
    job, _, validate_only = await submitted(scheduler, spec_of(), validate_only=True)
    (role,) = job.roles
    assert (role.name, role.replicas, role.colocate) == ("rank", 4, True)
    assert role.env["A"] == "1"
    assert dict(role.resources) == {"cpu": 1000}
    assert validate_only


async def test_a_function_s_pickle_lies_where_the_agent_looks_for_it(scheduler):
    call = objects_pb2.ObjectRef(digest="sha256:" + "0" * 64, size_bytes=3)
    spec = spec_of(function=mpi_pb2.MpiFunction(name="f", call=call), python_version="3.11")
    del spec.rank.command[:]
    job, _, _ = await submitted(scheduler, spec)
    (file,) = job.roles[0].files
    assert file.object == call
    assert file.path.startswith(".gridloom-mpi/")


async def test_roles_and_arrays_have_no_place_in_it(scheduler):
    spec = spec_of()
    spec.job.roles.add(name="other")
    with pytest.raises(InvalidRequestError, match="ranks"):
        await submitted(scheduler, spec)


async def test_a_program_runs_in_the_nearest_worker_image_with_that_one_s_python(scheduler):
    for version, image in (("3.11", "lab/worker:py3.11"), ("3.12", "lab/worker:py3.13")):
        spec = spec_of(python="/home/ada/bin/python", python_version=version)
        job, _, _ = await submitted(scheduler, spec, images=IMAGES)
        assert job.roles[0].image == image
        assert job.roles[0].command[0] == "python3"


async def test_an_image_that_the_job_names_counts(scheduler):
    spec = spec_of(python_version="3.11")
    spec.rank.image = "ada/solver:2"
    job, _, _ = await submitted(scheduler, spec, images=IMAGES)
    assert job.roles[0].image == "ada/solver:2"


async def test_a_function_runs_in_the_image_with_its_python_and_in_no_other(scheduler):
    call = objects_pb2.ObjectRef(digest="sha256:" + "0" * 64, size_bytes=3)
    function = mpi_pb2.MpiFunction(name="f", call=call)
    spec = spec_of(function=function, python_version="3.12")
    del spec.rank.command[:]
    with pytest.raises(VersionMismatchError, match=r"no worker image for Python 3\.12"):
        await submitted(scheduler, spec, images=IMAGES)
    spec.python_version = "3.13"
    job, _, _ = await submitted(scheduler, spec, images=IMAGES)
    assert job.roles[0].image == "lab/worker:py3.13"


async def test_on_a_machine_that_is_shared_the_client_s_interpreter_runs_it(scheduler):
    job, _, _ = await submitted(scheduler, spec_of(python="/home/ada/bin/python"))
    assert job.roles[0].command[0] == "/home/ada/bin/python"
    assert not job.roles[0].image
