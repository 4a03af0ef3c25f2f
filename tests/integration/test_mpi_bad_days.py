"""MPI on bad days: which rank, which cause, and that nothing is left of it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import gridloom
import pytest
from gridloom.errors import (
    CancelledError,
    InvalidRequestError,
    JobFailedError,
    NodeLostError,
    TimeLimitError,
)

from tests.support.eventually import eventually_now
from tests.support.mpi_programs import (
    BAD_PROGRAM,
    alive,
    process_above,
    program,
    ranks_of,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.home import Home

PATIENCE_S = 60


@gridloom.mpi(ranks=2)
def meets_and_parts(comm, folder):
    comm.Barrier()
    (folder / str(comm.rank)).touch()
    if comm.rank == 0:
        time.sleep(600)
    comm.Barrier()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with running(tmp_path_factory.mktemp("platform") / "home") as home:
        yield home


@pytest.fixture(scope="module")
def client(home: Home) -> Iterator[gridloom.Client]:
    with gridloom.connect(home=home.path) as client:
        yield client


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("client")]


def assert_freed(client: gridloom.Client, job_id: str) -> None:
    """Nothing of the job lives or holds anything."""
    eventually_now(lambda: alive(job_id) == [])
    eventually_now(lambda: client.nodes()[0].free == client.nodes()[0].capacity)


@gridloom.mpi(ranks=2)
def unpicklable(comm):
    import threading

    return {"lock": threading.Lock()} if comm.rank else 1


@gridloom.mpi(ranks=3, timeout="2s")
def one_stays_away(comm):
    if comm.rank == 1:
        wait_elsewhere()
    comm.Barrier()


def wait_elsewhere():
    time.sleep(600)


@gridloom.mpi(ranks=2)
def meets_late(comm, path):
    """Its own process, when somebody lets it go on."""
    while not Path(path).exists():
        time.sleep(0.02)
    comm.Barrier()
    return os.getpid()


def test_a_result_that_cannot_be_pickled_is_named_with_its_rank():
    with pytest.raises(gridloom.errors.UnpicklableError, match="lock") as caught:
        unpicklable.submit().result(PATIENCE_S)
    assert any("rank 1 of 2" in note for note in caught.value.__notes__)


def test_more_ranks_than_can_ever_be_held_are_refused_at_once(client):
    with pytest.raises(InvalidRequestError, match="rank"):
        client.mpi.run(["true"], ranks=200)


@pytest.mark.parametrize("implementation", ["mpich", "openmpi"])
@pytest.mark.parametrize(
    ("how", "words", "code"),
    [
        ("abort", r"rank 2 called MPI_Abort\(7\)", 7),
        ("exit", "rank 2: exit code 9", 9),
        ("segfault", "rank 2: killed by SIGSEGV", 139),
        ("raise", "rank 2: ValueError: rank 2 has had enough", 1),
    ],
)
def test_a_rank_that_fails_is_named_and_all_is_freed(
    client, tmp_path, monkeypatch, implementation, how, words, code
):
    monkeypatch.chdir(tmp_path)
    job = client.mpi.run(
        ["python", program(tmp_path, BAD_PROGRAM), how], ranks=3, implementation=implementation
    )
    with pytest.raises(JobFailedError, match=words) as caught:
        job.result(PATIENCE_S)
    assert (caught.value.rank, caught.value.exit_code) == (2, code)
    assert_freed(client, job.id)


def test_a_collective_that_hangs_ends_with_the_stack_of_every_rank(client):
    future = one_stays_away.submit()
    with pytest.raises(TimeLimitError, match="the time-out of 2 s") as caught:
        future.result(PATIENCE_S)
    told = str(caught.value)
    assert "in wait_elsewhere" in told
    assert [told.count(f"rank {rank}:") for rank in range(3)] == [1, 1, 1]
    assert future.job.info.failure_class is gridloom.FailureClass.TIME_LIMIT
    assert_freed(client, future.id)


@pytest.mark.parametrize("word", ["timeout", "time_limit"])
def test_a_program_that_hangs_says_where_each_rank_is(client, tmp_path, monkeypatch, word):
    monkeypatch.chdir(tmp_path)
    command = ["python", program(tmp_path, BAD_PROGRAM), "hang"]
    job = client.mpi.run(command, ranks=3, **{word: 4})
    with pytest.raises(TimeLimitError, match=r"rank 0 in <module> \(program.py:19\)") as caught:
        job.result(PATIENCE_S)
    assert "rank 2 in <module> (program.py:2" in str(caught.value)
    assert_freed(client, job.id)


def test_a_program_that_is_not_there_is_said_to_be(client):
    with pytest.raises(JobFailedError, match='no program "solvr"') as caught:
        client.mpi.run(["solvr"], ranks=3).result(PATIENCE_S)
    assert caught.value.exit_code == 127


# By the part that is killed: what its job's future raises, and says when ranks are at work.
PARTS = {
    "mpiexec": (JobFailedError, "mpiexec was killed by SIGKILL"),
    "hydra_pmi_proxy": (JobFailedError, "hydra_pmi_proxy, which starts the ranks, is gone"),
    "gl-rank-agent": (JobFailedError, "SIGKILL"),
    "gl-supervisor": (NodeLostError, "supervisor"),
    "gl-keeper": (NodeLostError, "supervisor"),
    "rank": (JobFailedError, r"rank \d: killed by SIGKILL"),
    "cancel": (CancelledError, None),
}


def end_a_part(future: gridloom.MpiFuture[None], whom: str) -> None:
    """A keeper's supervisors go on without it: its death matters to what they leave."""
    if whom == "cancel":
        future.cancel()
    elif whom == "rank":
        os.kill(ranks_of(future.id)[-1], signal.SIGKILL)
    else:
        parts = [process_above(future.id, whom)]
        if whom == "gl-keeper":
            parts.append(process_above(future.id, "gl-supervisor"))
        for pid in parts:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("amid_work", [False, True], ids=["beginning", "working"])
@pytest.mark.parametrize("whom", PARTS)
def test_whatever_is_killed_nothing_is_left(client, tmp_path, whom, amid_work):
    """Within 5 s, it is promised; on a loaded machine it may be later, so that is only told."""
    options = meets_and_parts.options(retries=gridloom.Retries(node_lost=0))
    future = options.submit(tmp_path)
    eventually_now(lambda: len(ranks_of(future.id)) == 2)
    if amid_work:
        eventually_now(lambda: len(list(tmp_path.iterdir())) == 2)
    end_a_part(future, whom)
    began = time.monotonic()
    eventually_now(lambda: not alive(future.id))
    print(f"{whom}: nothing was left after {time.monotonic() - began:.2f} s")
    error, words = PARTS[whom]
    with pytest.raises(error, match=words if amid_work else None):
        future.result(PATIENCE_S)
    assert_freed(client, future.id)


def test_a_platform_that_is_killed_takes_the_ranks_up_again(tmp_path):
    with running(tmp_path / "home") as home, gridloom.connect(home=home.path) as client:
        future = client.mpi.submit(meets_late, str(tmp_path / "go"))
        eventually_now(lambda: len(ranks_of(future.id)) == 2)
        os.kill(home.platform.running().pid, signal.SIGKILL)
        (tmp_path / "go").touch()
        pids = future.result(PATIENCE_S)
        assert len(set(pids)) == 2
        assert future.job.info.attempt == 1
