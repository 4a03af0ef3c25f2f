"""Profiles of functions, MPI functions and MPI programs, on a real embedded platform."""

from __future__ import annotations

import json
import pstats
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import gridloom
import pytest
from gridloom.errors import ConflictError, InvalidRequestError, NotFoundError

from tests.support.mpi_programs import program, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.home import Home

PATIENCE_S = 60

PROGRAM = """
from mpi4py import MPI

def churn(times):
    return sum(part(each) for each in range(times))

def part(each):
    return each % 7

churn(30_000 * (1 + MPI.COMM_WORLD.rank))
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


def part(each):
    return each % 7


def parts(comm):
    return part(comm.rank)


@gridloom.function(profile=True)
def churn(times):
    """Calls a function often, and takes memory."""
    held = bytearray(48 << 20)
    if not times:
        raise ValueError("nothing to do")
    return len(held) * 0 + sum(part(each) for each in range(times))


@gridloom.mpi(ranks=2, profile=True)
def churn_on_ranks(comm, times):
    if comm.rank == 1 and not times:
        raise ValueError("nothing to do")
    return sum(part(each) for each in range(times * (1 + comm.rank)))


def calls_of(profile, name):
    return sum(row.calls for row in profile.functions if row.name == name)


# ---- functions


def test_a_functions_profile_counts_its_calls_and_its_value_is_as_ever(client, tmp_path):
    future = churn.submit(10_000)
    assert future.result(PATIENCE_S) == sum(each % 7 for each in range(10_000))
    profile = future.profile()
    assert profile.kind == "cprofile"
    assert calls_of(profile, "part") == 10_000
    assert profile.peak_memory_bytes > profile.memory_before_bytes + (40 << 20)
    stats = pstats.Stats(str(profile.save(tmp_path / "churn.pstats")))
    assert stats.total_calls >= 20_000
    again = client.get(future.id)
    assert calls_of(again.profile(), "part") == 10_000
    assert again.result(PATIENCE_S) == future.result()


@pytest.mark.slow
def test_a_call_that_raised_has_a_profile_too():
    future = churn.submit(0)
    with pytest.raises(ValueError, match="nothing to do"):
        future.result(PATIENCE_S)
    assert calls_of(future.profile(), "churn") == 1


@pytest.mark.slow
def test_a_map_has_the_profile_of_all_its_calls_and_values_go_on_as_arguments():
    results = churn.map([100, 200, 300])
    assert sum(results) == sum(sum(e % 7 for e in range(n)) for n in (100, 200, 300))
    assert calls_of(results.profile(), "part") == 600
    assert churn.submit(churn.submit(7)).result(PATIENCE_S) == sum(e % 7 for e in range(21))


@pytest.mark.slow
def test_a_sampled_profile_has_real_stacks(tmp_path):
    future = churn.options(profile="sampling").submit(3_000_000)
    future.result(PATIENCE_S)
    profile = future.profile()
    assert profile.kind == "sampling"
    assert any([frame.name for frame in stack][:1] == ["churn"] for stack in profile.stacks)
    assert "churn (test_profiles.py:" in profile.save(tmp_path / "a.folded").read_text()


@pytest.mark.slow
def test_in_threads_calls_are_sampled(client):
    future = churn.options(profile=True, concurrency="threads").submit(1_000_000)
    future.result(PATIENCE_S)
    assert future.profile().kind == "sampling"
    with pytest.raises(InvalidRequestError, match="sampling"):
        churn.options(profile="cprofile", concurrency="threads")
    del client


async def _coroutine() -> None:
    """Nothing."""


@pytest.mark.slow
def test_what_cannot_have_a_profile_says_so():
    with pytest.raises(InvalidRequestError, match="did you mean"):
        churn.options(profile="sample")
    with pytest.raises(InvalidRequestError, match="coroutine"):
        gridloom.function(profile=True)(_coroutine).submit()
    plain = gridloom.function(part).submit(3)
    plain.result(PATIENCE_S)
    with pytest.raises(NotFoundError, match=r"profile=True|no call|not kept"):
        plain.profile()


# ---- ranks


def test_each_rank_of_a_function_leaves_its_profile(tmp_path):
    future = churn_on_ranks.submit(1000)
    future.result(PATIENCE_S)
    profile = future.profile()
    assert list(profile.by_rank) == [0, 1]
    assert [calls_of(future.profile(rank), "part") for rank in (0, 1)] == [1000, 2000]
    assert calls_of(profile, "part") == 3000
    picture = ET.parse(profile.flamegraph(tmp_path / "f.svg", "a & b")).getroot()
    titles = [each.text or "" for each in picture.iter("{http://www.w3.org/2000/svg}title")]
    assert any(title.startswith("part (test_profiles.py") for title in titles)


@pytest.mark.slow
def test_the_profile_of_a_world_has_all_its_calls(client):
    with client.mpi.world(ranks=2, profile=True) as world:
        for _ in range(3):
            world.call(parts)
        job = world.job
    job.result(PATIENCE_S)
    assert calls_of(job.profile(), "part") == 2 * 3
    assert list(job.profile().by_rank) == [0, 1]


@pytest.mark.slow
def test_a_rank_that_raised_has_a_profile_and_unknown_ones_are_refused():
    future = churn_on_ranks.submit(0)
    with pytest.raises(ValueError, match="nothing to do"):
        future.result(PATIENCE_S)
    assert calls_of(future.profile(1), "churn_on_ranks") == 1
    with pytest.raises(InvalidRequestError, match="0 to 1"):
        future.profile(2)


def test_a_python_program_is_profiled_rank_by_rank(client, home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = client.mpi.run(["python", program(tmp_path, PROGRAM)], ranks=2, profile=True)
    job.result(PATIENCE_S)
    assert [calls_of(job.profile(rank), "part") for rank in (0, 1)] == [30_000, 60_000]
    assert not job.outputs
    assert "<module>" in {stack[0].name for stack in job.profile(0).stacks}
    words = ["jobs", "profile", job.id, "--rank", "1", "--flame", "f.svg", "--top", "5", "--json"]
    told = _cli(home, tmp_path, words)
    assert json.loads(told)["functions"][0]["calls"] > 0
    assert (tmp_path / "f.svg").stat().st_size > 1000
    assert "rank 1:" in _cli(home, tmp_path, ["jobs", "profile", job.id])


@pytest.mark.slow
def test_another_program_has_its_memory_and_says_why_no_more(client, tmp_path):
    job = client.mpi.run(["sh", "-c", "exit 0"], ranks=2, profile=True)
    job.result(PATIENCE_S)
    profile = job.profile(1)
    assert profile.kind == "memory"
    assert profile.peak_memory_bytes > 1 << 19
    assert "sh is not a Python program" in profile.why
    with pytest.raises(ConflictError, match="not a Python program"):
        profile.flamegraph(tmp_path / "f.svg")


@pytest.mark.slow
def test_jobs_without_a_profile_and_jobs_that_run_say_so(client):
    plain = client.mpi.run(["true"], ranks=1)
    running_job = client.mpi.run(["sleep", "60"], ranks=1, profile=True)
    plain.result(PATIENCE_S)
    with pytest.raises(NotFoundError, match="run it again with profile=True"):
        plain.profile()
    with pytest.raises(ConflictError, match="when it is over"):
        running_job.profile()
    running_job.cancel(grace=0)
    running_job.wait(PATIENCE_S)
    with pytest.raises(NotFoundError, match="profile"):
        running_job.profile(0)


def _cli(home, folder, words):
    done = home.gridloom(*words, cwd=folder)
    assert done.code == 0, done.err
    return done.out
