"""A service and hosts for the tests of workers."""

from __future__ import annotations

import pytest

from tests.unit.worker.pool_service import HostProcess, running_service


@pytest.fixture
def service(tmp_path):
    with running_service(tmp_path / "functions.sock") as running:
        yield running


@pytest.fixture
def start_host(tmp_path, service):
    """Starts hosts, and ends them with the test."""
    started = []

    def start(spec=None, **options):
        folder = tmp_path / f"host{len(started)}"
        folder.mkdir()
        started.append(HostProcess(folder, service, spec, **options))
        return started[-1]

    yield start
    for host in started:
        host.close()


@pytest.fixture
def worker(service, start_host):
    """The one worker of a pool of processes."""
    start_host()
    return service.worker()
