"""Programs inside jobs that use the platform themselves, while it is killed and started again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import gridloom
import pytest

from tests.support.eventually import eventually_now
from tests.support.home import Home

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gridloom.home import PlatformRecord

# Looks at its own job, waits for the word, and looks again.
PROGRAM = """
import os, sys, time, gridloom
client = gridloom.connect()
job = os.environ["GRIDLOOM_JOB_ID"]
print("before", client.job(job).state, flush=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
print("after", client.job(job).state, client.defaults.project, flush=True)
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "home")
    yield home
    home.close()


@contextlib.contextmanager
def moved(home: Home, before: PlatformRecord) -> Iterator[None]:
    """The platform was killed, and its port is another's when it starts again."""
    os.kill(before.pid, signal.SIGKILL)
    # Until nothing of it holds the port.
    eventually_now(lambda: not Path(f"/proc/{before.pid}").exists())
    host, _, port = before.address.partition(":")
    with socket.create_server((host, int(port))):
        assert home.platform.start().address != before.address
        yield


def test_a_job_finds_the_platform_that_was_started_again_on_another_port(
    home: Home, tmp_path: Path
):
    before = home.platform.start()
    go = tmp_path / "go"
    with gridloom.connect(home=home.path) as client:
        job = client.run([sys.executable, "-c", PROGRAM, str(go)])
        eventually_now(lambda: list(job.logs()) == ["before RUNNING"])
        with moved(home, before):
            go.touch()
            result = job.result(timeout=60)
        assert (result.exit_code, job.info.attempt) == (0, 1)
        assert list(job.logs()) == ["before RUNNING", "after RUNNING default"]


def test_so_do_workers_that_were_there_before(home: Home):
    def weighed(data: bytes) -> tuple[int, int]:
        return os.getpid(), len(data)

    before = home.platform.start()
    with gridloom.connect(home=home.path) as client, client.pool(workers=1) as pool:
        worker, _ = pool.submit(weighed, b"").result(60)
        with moved(home, before):
            # Too large to come with the call.
            assert pool.submit(weighed, bytes(1 << 20)).result(60) == (worker, 1 << 20)
