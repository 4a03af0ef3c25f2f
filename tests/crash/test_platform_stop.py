"""The platform is told to end while pools are warm, and while calls run."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import gridloom
import pytest

from tests.support.chaos import survivors
from tests.support.eventually import eventually_now
from tests.support.home import Home

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "home")
    yield home
    home.close()


def test_pools_with_nothing_to_do_end_with_the_platform_and_come_again(home: Home):
    for round_ in range(2):
        with gridloom.connect(home=home.path) as client:
            assert client.submit(abs, -7 - round_).result(timeout=60) == 7 + round_
            record = home.platform.running()
        os.kill(record.pid, signal.SIGTERM)
        assert survivors(home.path, 20.0) == {}


def pass_gate(folder: str) -> str:
    """Say that it has begun, and end when there is a gate."""
    (Path(folder) / f"begun-{os.getpid()}").touch()
    while not (Path(folder) / "gate").exists():
        time.sleep(0.01)
    return "through"


@pytest.mark.slow
def test_calls_that_run_when_the_platform_goes_down_end_with_it_and_begin_anew_after_the_next_up(
    home: Home, tmp_path: Path
):
    with gridloom.connect(home=home.path) as client:
        calls = [client.submit(pass_gate, str(tmp_path)).id for _ in range(10)]
        eventually_now(lambda: list(tmp_path.glob("begun-*")))
    assert home.gridloom("down", "--keep").code == 0
    assert survivors(home.path, 20.0) == {}
    (tmp_path / "gate").touch()
    assert home.gridloom("up").code == 0
    with gridloom.connect(home=home.path) as client:
        assert [client.get(call).result(timeout=60) for call in calls] == ["through"] * 10


def test_down_that_cancels_leaves_no_process_of_jobs_or_calls(home: Home, tmp_path: Path):
    with gridloom.connect(home=home.path) as client:
        client.submit(pass_gate, str(tmp_path))
        job = client.run(["sleep", "300"])
        eventually_now(lambda: list(tmp_path.glob("begun-*")) and job.state.name == "RUNNING")
    assert home.gridloom("down", "--cancel").code == 0
    assert survivors(home.path, 20.0) == {}
