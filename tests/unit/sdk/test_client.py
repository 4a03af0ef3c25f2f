from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from typing import TYPE_CHECKING

import gridloom
import grpc
import pytest
from gridloom import ids
from gridloom.api.functions.v1 import functions_pb2, pool_pb2
from gridloom.api.scheduler.v1 import scheduler_pb2 as pb
from gridloom.client import client_of, current_client
from gridloom.errors import (
    InvalidRequestError,
    NotFoundError,
    UnauthenticatedError,
    UnavailableError,
)
from gridloom.jobs.handle import Job
from gridloom.version import VERSION

from tests.support.scripted import Abort
from tests.unit.sdk.jobs.examples import JOB, job

if TYPE_CHECKING:
    from pathlib import Path

    from gridloom.client import Client

    from tests.support.scripted import ScriptedPlatform


def test_importing_the_package_imports_next_to_nothing():
    program = (
        "import sys; before = set(sys.modules); import gridloom;"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    slow = {"typing", "dataclasses", "grpc", "google", "concurrent", "asyncio", "rich", "typer"}
    imported = done.stdout.split()
    assert {"gridloom", "gridloom.version"} <= set(imported)
    assert not slow & set(imported)
    assert len(imported) < 12


def test_every_public_name_can_be_had_and_is_listed():
    for name in gridloom.__all__:
        assert getattr(gridloom, name) is not None
    assert set(gridloom.__all__) <= set(dir(gridloom))
    with pytest.raises(AttributeError, match="no attribute 'conect'"):
        _ = gridloom.conect  # type: ignore[attr-defined]


def test_the_version_is_that_of_the_distribution():
    assert importlib.metadata.version("gridloom") == VERSION == gridloom.__version__


def test_an_id_opens_what_it_names(platform: ScriptedPlatform, client: Client):
    platform.script("GetJob", pb.GetJobResponse(job=job()))
    assert isinstance(client.get(JOB), Job)
    pool = ids.new_id("pool")
    platform.script("GetPool", functions_pb2.GetPoolResponse(pool=pool_pb2.Pool(id=pool, state=1)))
    assert client.get(pool).id == pool
    with pytest.raises(InvalidRequestError):
        client.get("nothing")


def test_a_client_starts_nothing_elsewhere(platform: ScriptedPlatform):
    with gridloom.connect(platform.address, project="chem", queue="fast") as client:
        assert client.name == platform.address
        assert (client.defaults.project, client.defaults.queue) == ("chem", "fast")
        assert repr(client) == f"<gridloom.Client of {platform.address}>"
    assert list(platform.requests) == ["ListQueues"]


def test_a_wrong_address_or_key_is_told_when_one_connects(platform: ScriptedPlatform):
    denied = Abort(grpc.StatusCode.UNAUTHENTICATED, "no such key", "UNAUTHENTICATED")
    platform.script("ListQueues", denied)
    with pytest.raises(UnauthenticatedError, match="no such key"):
        gridloom.connect(platform.address)
    platform.close()
    with pytest.raises(UnavailableError, match="cannot be reached"):
        gridloom.connect(platform.address, timeout="200ms")


def test_the_client_that_was_connected_last_is_the_current_one(platform: ScriptedPlatform):
    with gridloom.connect(platform.address) as first:
        with gridloom.connect(platform.address) as second:
            assert current_client() is second
            assert client_of(platform.address) is second
        assert current_client() is first


def test_a_handle_from_elsewhere_brings_its_platform_along(platform: ScriptedPlatform):
    client = client_of(platform.address)
    assert client.name == platform.address
    assert client_of(platform.address) is client
    client.close()


def test_defaults_go_with_every_request(platform: ScriptedPlatform):
    platform.script("SubmitJobs", pb.SubmitJobsResponse(jobs=[job("QUEUED")]))
    platform.script("ListJobs", pb.ListJobsResponse())
    with gridloom.connect(platform.address, project="chem", queue="fast") as client:
        client.run(["true"])
        list(client.jobs())
    spec = platform.requests["SubmitJobs"][0].jobs[0]
    assert (spec.project, spec.queue) == ("chem", "fast")
    assert platform.requests["ListJobs"][0].filter.project == "chem"


def test_functions_and_pools_are_listed(platform: ScriptedPlatform, client: Client):
    spec = pool_pb2.PoolSpec(name="fits", concurrency=pool_pb2.CONCURRENCY_THREADS)
    pool = pool_pb2.Pool(
        id="pool_1", spec=spec, state=pool_pb2.POOL_STATE_BROKEN, reason="no numpy"
    )
    platform.script("ListPools", functions_pb2.ListPoolsResponse(pools=[pool]))
    found = client.pools()[0]
    assert (found.state, found.concurrency, found.reason) == ("BROKEN", "threads", "no numpy")
    known = functions_pb2.FunctionSummary(name="fit", failed=2)
    platform.script("ListFunctions", functions_pb2.ListFunctionsResponse(functions=[known]))
    assert client.functions()[0].failed == 2


def test_a_context_that_does_not_exist_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GRIDLOOM_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(NotFoundError, match='context "lab" does not exist'):
        gridloom.connect(context="lab")


def test_only_its_own_names_are_listed():
    assert {name for name in dir(gridloom) if name[0] != "_"} == set(gridloom.__all__) - {
        "__version__"
    }
