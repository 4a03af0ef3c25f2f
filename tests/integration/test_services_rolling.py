"""Services are restarted amid work, as a rollout does it: nothing is lost or comes twice."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING

import gridloom
import pytest

from tests.support.apart import SERVICES, Apart
from tests.support.eventually import eventually_now
from tests.support.postgresql import PostgresServer, programs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PATIENCE_S = 120
ITEMS = 600


def noted(number: int, log: str) -> int:
    """Leaves a line for each time that it runs."""
    time.sleep(0.02)
    with open(log, "ab", buffering=0) as file:  # noqa: PTH123  # runs where this module is not
        file.write(b"%d\n" % number)
    return number


class Load:
    """Calls one after the other and jobs, until it is stopped; what became of each is kept."""

    def __init__(self, client: gridloom.Client, log: str) -> None:
        self.calls: list[tuple[int, int]] = []
        self.jobs: list[gridloom.Job] = []
        self.errors: list[Exception] = []
        self._client = client
        self._log = log
        self._stop = threading.Event()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        loops = (self._call, self._submit)
        threads = [threading.Thread(target=self._repeat, args=(loop,)) for loop in loops]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _repeat(self, act: Callable[[], None]) -> None:
        while not self._stop.wait(0.1):
            try:
                act()
            except Exception as error:  # noqa: BLE001  # the test asserts that there is none
                self.errors.append(error)

    def _call(self) -> None:
        number = ITEMS + len(self.calls)
        self.calls.append(
            (number, self._client.submit(noted, number, self._log).result(PATIENCE_S))
        )

    def _submit(self) -> None:
        self.jobs.append(self._client.run(["sh", "-c", "sleep 0.2; echo $GRIDLOOM_JOB_ID"]))


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A server of the test's own: it is restarted here."""
    folder = programs()
    if folder is None:
        pytest.skip("no PostgreSQL server is installed here")
    server = PostgresServer(folder)
    yield server
    server.stop()


@pytest.fixture
def services(tmp_path: Path, postgres: PostgresServer) -> Iterator[Apart]:
    with Apart(tmp_path, postgres.new_database()) as services:
        yield services


@pytest.fixture
def client(services: Apart) -> Iterator[gridloom.Client]:
    with gridloom.connect(services.address, api_key=services.token) as client:
        yield client
        for job in client.jobs():
            job.cancel(grace=0)
        for job in client.jobs():
            job.wait(PATIENCE_S)


def check_all(client: gridloom.Client, log: Path, disturb: Callable[[], None]) -> None:
    """Work through the disturbance, and compare what came out with what went in."""
    assert client.submit(noted, -1, str(log)).result(PATIENCE_S) == -1
    long = client.run(["sh", "-c", "sleep 4; echo over"])
    load = Load(client, str(log))
    with load.running():
        results = client.map(noted, range(ITEMS), [str(log)] * ITEMS)
        disturb()
        assert list(results) == list(range(ITEMS))
    assert load.errors == []
    assert all(number == result for number, result in load.calls)
    assert long.result(PATIENCE_S).exit_code == 0
    for job in load.jobs:
        assert job.result(PATIENCE_S).exit_code == 0
        assert list(job.logs()) == [job.id]
    ran = [int(line) for line in log.read_text().split()]
    expected = {-1, *range(ITEMS), *(number for number, _ in load.calls)}
    assert set(ran) == expected
    # What a worker held when its service went runs once more, and no more than that.
    assert len(ran) - len(expected) < 100


def test_each_service_is_restarted_amid_calls_maps_and_jobs(services, client, tmp_path):
    def restart_each() -> None:
        for name in SERVICES:
            time.sleep(0.5)
            services.restart(name)

    check_all(client, tmp_path / "log", restart_each)


def running_pools(client: gridloom.Client) -> set[str]:
    """Jobs that hold workers now."""
    return {job.id for job in client.jobs(kind="pool", state="running")}


def test_workers_outlive_a_restart_and_a_pool_goes_to_zero_and_comes_back(services, client):
    with client.pool(workers=2, idle_timeout=5) as pool:
        worker = pool.submit(os.getpid).result(PATIENCE_S)
        first = running_pools(client)
        services.restart("functions")
        assert pool.submit(os.getpid).result(PATIENCE_S) == worker
        assert running_pools(client) == first
        eventually_now(lambda: not running_pools(client))
        assert pool.submit(os.getpid).result(PATIENCE_S) != worker
        assert not running_pools(client) & first


def test_the_database_is_restarted_amid_calls_maps_and_jobs(services, client, postgres, tmp_path):
    """What ends of a service because nobody knows what was committed is started again."""
    over = threading.Event()

    def keep() -> None:
        """As the kubelet does."""
        while not over.wait(0.1):
            for name, service in list(services.running.items()):
                if service.has_ended:
                    services.start(name)

    keeper = threading.Thread(target=keep)
    keeper.start()
    try:
        check_all(client, tmp_path / "log", postgres.restart)
    finally:
        over.set()
        keeper.join()
