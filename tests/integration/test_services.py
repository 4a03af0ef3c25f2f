"""The same program on both: one process for everything, and a process a service."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import gridloom
import psutil
import pytest

from tests.support.apart import Apart
from tests.support.eventually import eventually_now
from tests.support.gateway import Gateway
from tests.support.service import EmbeddedProcess, ServiceProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.postgresql import PostgresServer

# For pools that wait for their workers on a loaded machine.
PATIENCE_S = 60


@contextlib.contextmanager
def embedded(home: Path, _: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    with EmbeddedProcess(home, "--cpus", "4") as platform:
        yield platform.record()["address"], platform.token


@contextlib.contextmanager
def separate(home: Path, _: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """On files, one home for all."""
    with contextlib.ExitStack() as stack:
        gateway = stack.enter_context(Gateway())
        settings = {"public_address": gateway.address, "scheduler_cpus": 4}
        for name in ("objects", "scheduler", "functions", "mpi"):
            service = stack.enter_context(ServiceProcess(name, home, **settings))
            gateway.route(name, service.address)
            settings[f"{name}_address"] = service.address
        yield gateway.address, service.token


@contextlib.contextmanager
def apart(home: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """On PostgreSQL and a shared folder, a home each, as in a cluster."""
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.new_database()
    with Apart(home, url) as services:
        yield services.address, services.token
    server.drop(url)


@pytest.fixture(scope="module", params=[embedded, separate, apart], ids=lambda way: way.__name__)
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    home = tmp_path_factory.mktemp("home")
    with (
        request.param(home, request) as (address, token),
        gridloom.connect(address, api_key=token) as client,
    ):
        yield client
        # Jobs outlive their platform, unless somebody ends them.
        for job in client.jobs():
            job.cancel(grace=0)
        for job in client.jobs():
            job.wait(PATIENCE_S)


def test_a_command_runs_with_files_in_and_out(client, tmp_path):
    (tmp_path / "input.txt").write_text("seven\n" * 10_000)
    job = client.run(
        "wc -l < input.txt > count.txt; echo counted",
        shell=True,
        files=[str(tmp_path / "input.txt")],
        outputs=["count.txt"],
    )
    assert job.result(PATIENCE_S).exit_code == 0
    assert list(job.logs()) == ["counted"]
    assert job.outputs["count.txt"].read_text().strip() == "10000"


def test_our_own_settings_of_grpc_are_not_those_of_jobs(client):
    job = client.run("env | grep -c '^GRPC_EXPERIMENTS=' || true", shell=True)
    job.result(PATIENCE_S)
    assert list(job.logs()) == ["0"]


def squared(number: int) -> int:
    return number * number


def doubled(data: bytes) -> bytes:
    return data + data


def test_calls_and_maps_run_on_workers(client):
    assert client.submit(squared, 7).result(PATIENCE_S) == 49
    assert list(client.map(squared, range(1000))) == [n * n for n in range(1000)]


def test_large_arguments_and_results_travel_as_objects(client):
    data = bytes(range(256)) * 8192
    assert client.submit(doubled, data).result(PATIENCE_S) == data + data


def test_the_work_is_found_by_its_id(client):
    job = client.run(["sh", "-c", "exit 3"])
    with pytest.raises(gridloom.errors.JobFailedError) as caught:
        client.get(job.id).result(PATIENCE_S)
    assert caught.value.exit_code == 3


def test_ranks_speak_with_each_other_and_return_their_results(client):
    def added(comm, number):
        return comm.allreduce(number + comm.rank)

    future = client.mpi.submit(gridloom.mpi(ranks=2)(added), 1)
    assert future.result(PATIENCE_S) == [3, 3]


def processes_of(home: Path) -> list[str]:
    """What runs with this home in its environment or its command."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(str(home) in word for word in process.cmdline()) or (
                str(home) in process.environ().get("GRIDLOOM_HOME", "")
            ):
                found.append(" ".join(process.cmdline()))
    return found


def test_a_platform_that_nobody_needs_ends_with_its_pools_and_leaves_no_process(tmp_path):
    with EmbeddedProcess(tmp_path, "--idle-timeout", "1") as platform:
        address, token = platform.record()["address"], platform.token
        with gridloom.connect(address, api_key=token) as client:
            pool = client.pool(workers=1, idle_timeout=0.2)
            assert pool.submit(squared, 7).result(PATIENCE_S) == 49
        assert platform.wait() == 0
        assert platform.said("stopping")["reason"] == "idle for 1 s"
    eventually_now(lambda: processes_of(tmp_path) == [])


def test_a_command_keeps_the_platform_alive_until_it_ends(tmp_path):
    with EmbeddedProcess(tmp_path, "--idle-timeout", "0.5") as platform:
        address, token = platform.record()["address"], platform.token
        with gridloom.connect(address, api_key=token) as client:
            client.run(["sh", "-c", f"sleep 3; touch {tmp_path / 'done'}"])
        assert platform.wait() == 0
    assert (tmp_path / "done").exists()
