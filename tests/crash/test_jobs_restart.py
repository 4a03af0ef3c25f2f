"""Programs inside jobs that use the platform themselves, while it is killed and started again."""

from __future__ import annotations

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


def test_a_job_finds_the_platform_that_was_started_again_on_another_port(
    home: Home, tmp_path: Path
):
    before = home.platform.start()
    go = tmp_path / "go"
    with gridloom.connect(home=home.path) as client:
        job = client.run([sys.executable, "-c", PROGRAM, str(go)])
        eventually_now(lambda: list(job.logs()) == ["before RUNNING"])
        os.kill(before.pid, signal.SIGKILL)
        # Until nothing of it holds the port.
        eventually_now(lambda: not Path(f"/proc/{before.pid}").exists())
        host, _, port = before.address.partition(":")
        with socket.create_server((host, int(port))):
            assert home.platform.start().address != before.address
            go.touch()
            result = job.result(timeout=60)
        assert (result.exit_code, job.info.attempt) == (0, 1)
        assert list(job.logs()) == ["before RUNNING", "after RUNNING default"]
