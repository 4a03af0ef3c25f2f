"""MPI programs and functions through the SDK, on a real embedded platform, with real MPI."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import gridloom
import pytest
from gridloom.errors import JobFailedError, RemoteTraceback

from tests.support.mpi_programs import BAD_PROGRAM, compiled, program, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.home import Home

PATIENCE_S = 60

SUM_PROGRAM = """
import sys
from mpi4py import MPI

comm = MPI.COMM_WORLD
print(f"{comm.rank} of {comm.size}", comm.allreduce(comm.rank), flush=True)
print("oh", comm.rank, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with running(tmp_path_factory.mktemp("platform") / "home") as home:
        yield home


@pytest.fixture(scope="module")
def client(home: Home) -> Iterator[gridloom.Client]:
    with gridloom.connect(home=home.path) as client:
        yield client


pytestmark = pytest.mark.usefixtures("client")


@gridloom.mpi(ranks=3)
def sums(comm, start, fail_on=-1):
    """A sum over ranks; one rank may fail while the others wait for it."""
    if comm.rank == fail_on:
        raise ValueError(f"no sum for {start}")
    print("here is", comm.rank)
    return comm.rank, comm.allreduce(start)


# ---- what everybody does


def test_a_function_runs_on_every_rank_and_the_future_has_all_results():
    future = sums.submit(5)
    assert future.result(PATIENCE_S) == [(0, 15), (1, 15), (2, 15)]
    assert sorted(future.logs()) == [f"[{rank}] here is {rank}" for rank in range(3)]
    assert list(future.logs(rank=1)) == ["here is 1"]


def test_what_one_rank_raises_ends_the_gang_and_is_raised_with_rank_and_traceback():
    with pytest.raises(ValueError, match="no sum for 5") as caught:
        sums.submit(5, fail_on=1).result(PATIENCE_S)
    assert any("rank 1 of 3" in note for note in caught.value.__notes__)
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "rank 1 of 3" in str(caught.value.__cause__)
    assert "in sums" in str(caught.value.__cause__)


def test_a_program_runs_as_under_mpiexec(client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = client.mpi.run(["python", program(tmp_path, SUM_PROGRAM)], ranks=3)
    assert job.result(PATIENCE_S).exit_code == 0
    assert list(job.logs(rank=2, stream="stdout")) == ["2 of 3 3"]
    assert sorted(job.logs(stream="stderr")) == [f"[{rank}] oh {rank}" for rank in range(3)]
    assert list(client.get(job.id).logs(rank=2, stream="stdout")) == ["2 of 3 3"]


def test_a_program_in_c_runs_on_the_mpi_that_it_was_built_with_and_no_other(
    client, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    made = compiled(tmp_path)
    if made is None:
        pytest.skip("no C compiler, or no MPI headers, are here")
    _, implementation = made
    job = client.mpi.run(["./sum"], ranks=3, implementation=implementation)
    job.result(PATIENCE_S)
    assert sorted(job.logs()) == [f"[{rank}] {rank} of 3: 3" for rank in range(3)]
    other = {"mpich": "openmpi", "openmpi": "mpich"}[implementation]
    with pytest.raises(JobFailedError, match="linked against"):
        client.mpi.run(["./sum"], ranks=3, implementation=other).result(PATIENCE_S)


# ---- and more of it


@pytest.mark.slow
def test_open_mpi_is_chosen_by_name():
    future = sums.options(implementation="openmpi").submit(2)
    assert future.result(PATIENCE_S) == [(0, 6), (1, 6), (2, 6)]


@pytest.mark.slow
def test_only_the_root_s_result_is_brought_where_that_is_asked_for():
    assert sums.options(result="root").submit(1).result(PATIENCE_S) == (0, 3)


@pytest.mark.slow
def test_an_event_loop_awaits_the_same(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script = program(tmp_path, SUM_PROGRAM)

    async def main():
        async with await gridloom.aio.connect(home=home.path) as client:
            future = await client.mpi.submit(sums, 4)
            job = await client.mpi.run(["python", script], ranks=2)
            await job.result(PATIENCE_S)
            lines = [line async for line in job.logs(rank=1, stream="stdout")]
            return await future, lines

    assert asyncio.run(main()) == ([(0, 12), (1, 12), (2, 12)], ["1 of 2 1"])


@pytest.mark.slow
def test_ranks_have_their_environment_files_threads_and_input(client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.txt").write_text("42")
    text = """
import os, sys
from pathlib import Path
from mpi4py import MPI
rank = MPI.COMM_WORLD.rank
Path(f"left.{rank}").write_text("x")
words = os.environ["A"], Path("data.txt").read_text(), os.environ["OMP_NUM_THREADS"]
print(*words, sys.stdin.read() if rank == 0 else "-")
"""
    job = client.mpi.run(
        ["python", program(tmp_path, text)],
        ranks=2,
        threads=2,
        env={"A": "b"},
        files=["data.txt"],
        stdin=b"typed",
        outputs="left.*",
    )
    job.result(PATIENCE_S)
    assert sorted(job.logs()) == ["[0] b 42 2 typed", "[1] b 42 2 -"]
    assert sorted(name.rpartition("/")[2] for name in job.outputs) == ["left.0", "left.1"]


@pytest.mark.slow
def test_bound_ranks_stay_on_their_cores(client):
    code = "import os; print(len(os.sched_getaffinity(0)))"
    job = client.mpi.run(["python", "-c", code], ranks=2, bind=True)
    job.result(PATIENCE_S)
    assert sorted(job.logs()) == ["[0] 1", "[1] 1"]


@pytest.mark.slow
def test_the_command_line_ends_as_its_ranks_do(home, tmp_path):
    good = home.gridloom(
        *("mpi", "run", "-n", "2", "--tag-output", "--", "python", program(tmp_path, SUM_PROGRAM)),
        cwd=tmp_path,
    )
    assert (good.code, sorted(good.out.splitlines())) == (0, ["[0] 0 of 2 1", "[1] 1 of 2 1"])
    bad = home.gridloom(
        *("mpi", "run", "-n", "3", "--", "python", program(tmp_path, BAD_PROGRAM), "exit"),
        cwd=tmp_path,
    )
    assert bad.code == 9
    assert "rank 2: exit code 9" in bad.err
