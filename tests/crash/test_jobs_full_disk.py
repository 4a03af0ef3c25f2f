"""The disk of the whole platform is full while jobs run, end and are submitted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import gridloom
import pytest
from gridloom.errors import GridloomError
from gridloom.jobs.states import JobState

from tests.support.chaos import survivors
from tests.support.eventually import eventually_now
from tests.support.home import Home
from tests.support.small_disk import fill, small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MEGABYTES = 64
# Enough of these do not fit into what a store has put aside for such days.
LARGE = {f"PART_{number}": "x" * 100_000 for number in range(8)}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", MEGABYTES) as folder:
        yield folder


@pytest.fixture
def home(disk: Path) -> Iterator[Home]:
    home = Home(disk / "home")
    assert home.gridloom("up", "--cpus", "8").code == 0
    yield home
    home.close()


def submit_until_refused(client: gridloom.Client) -> tuple[list[gridloom.Job], GridloomError]:
    """What was accepted on a full disk, and the first refusal."""
    accepted = []
    for _ in range(400):
        try:
            accepted.append(client.run(["echo", "made it"], env=LARGE, cpus=0.1))
        except GridloomError as error:
            return accepted, error
    raise AssertionError("the disk was never full")


@pytest.mark.slow
def test_what_was_accepted_ends_once_there_is_room_and_the_rest_is_refused(
    home: Home, disk: Path, tmp_path: Path
):
    go, over = tmp_path / "go", tmp_path / "over"
    script = f"echo begin; while [ ! -e {go} ]; do sleep 0.05; done; touch {over}; exit 7"
    with gridloom.connect(home=home.path, timeout="20s") as client:
        runs = client.run(["sh", "-c", script])
        eventually_now(lambda: list(runs.logs()) == ["begin"])
        filler = fill(disk)
        accepted, refusal = submit_until_refused(client)
        assert "full" in str(refusal)
        go.touch()  # it ends while nobody can write that down
        eventually_now(over.exists)
        time.sleep(0.3)
        assert runs.refresh().state is JobState.RUNNING
        filler.unlink()
        client.wait([runs, *accepted], timeout=60)
        assert (runs.info.exit_code, runs.info.attempt) == (7, 1)
        assert list(runs.logs()) == ["begin"]
        for job in accepted:
            assert job.info.state is JobState.SUCCEEDED, job.info
            assert list(job.logs()) == ["made it"]
        assert client.run(["true"]).result(timeout=60).exit_code == 0
        assert len(list(client.jobs())) == len(accepted) + 2
    doctor = home.gridloom("doctor")
    assert doctor.code == 0, doctor.out + doctor.err
    assert home.gridloom("down", "--cancel").code == 0
    assert survivors(home.path, 10.0) == {}
