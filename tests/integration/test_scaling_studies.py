"""Scaling studies of real work on a real platform that claims more cores than there are."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import gridloom
import pytest
from gridloom.errors import InvalidRequestError, JobFailedError

from tests.support.eventually import eventually_now
from tests.support.mpi_programs import program, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.home import Home

PROGRAM = """
import os, sys
from mpi4py import MPI
comm = MPI.COMM_WORLD
with open(os.path.join(sys.argv[1], f"{comm.size}-{sys.argv[2]}"), "a") as file:
    file.write(f"{comm.rank}\\n")
"""
STUDY = """
import sys
import gridloom

@gridloom.mpi(ranks=1)
def work(comm, folder, slow):
    import pathlib, time
    if comm.rank == 0:
        with open(f"{folder}/made", "a") as file:
            file.write(f"{comm.size}\\n")
    while slow and comm.size == 2 and not pathlib.Path(folder, "go").exists():
        time.sleep(0.02)

if __name__ == "__main__":
    with gridloom.connect(home=sys.argv[1]) as client:
        client.scaling_study(work.s(sys.argv[2], True), [1, 2, 3], repeats=1, name="broken")
"""

CALLS = """
import pathlib, sys, time
import gridloom

@gridloom.function
def work(folder, number):
    place = pathlib.Path(folder)
    while number == 1 and not (place / "go").exists() and (place / "one").exists():
        (place / "begun").touch()
        time.sleep(0.02)
    if number == 3:
        (place / "one").touch()

if __name__ == "__main__":
    calls = gridloom.group(work.s(sys.argv[2], number) for number in range(4))
    with gridloom.connect(home=sys.argv[1]) as client:
        client.scaling_study(calls, [1, 2], repeats=1, name="killed")
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with running(tmp_path_factory.mktemp("platform") / "home") as home:
        yield home


@pytest.fixture(scope="module")
def client(home: Home) -> Iterator[gridloom.Client]:
    with gridloom.connect(home=home.path) as client:
        yield client


@gridloom.mpi(ranks=1)
def shared(comm, fail_at: int):
    if comm.size == fail_at and comm.rank == 1:
        raise ValueError("not with so many")
    return comm.allreduce(1)


@gridloom.function
def one(number: int) -> int:
    return number


@pytest.mark.slow
def test_ranks_of_a_function_are_timed_and_too_few_cores_are_flagged(client):
    found = client.scaling_study(shared.s(0), [1, 8], repeats=1, name="function")
    assert [point.width for point in found.points] == [1, 8]
    for run in found.runs:
        job = client.get(run.job_id)
        assert job.info.labels == {"study": "function", "width": str(run.width)}
        assert 0 < run.seconds < job.info.run_s()
    assert 8 in found.oversubscribed  # or this machine has 8 cores
    assert found.points[0].cores < 8
    assert found.points[1].hosts == 1


@pytest.mark.slow
def test_a_program_grows_with_its_width(client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["python", program(tmp_path, PROGRAM), str(tmp_path), "{width}0"]
    found = client.scaling_study(command, [1, 2], "weak", 1, name="program")
    assert sorted((tmp_path / "2-20").read_text().split()) == ["0", "1"]
    assert (tmp_path / "1-10").read_text().split() == ["0"]
    for run in found.runs:
        assert 0 < run.seconds < client.get(run.job_id).info.run_s()
    assert found.title == f"python program.py {tmp_path} '{{width}}0'"


@pytest.mark.slow
def test_calls_of_functions_have_a_pool_of_each_width(client):
    calls = gridloom.group(one.s(number) for number in range(4))
    found = client.scaling_study(calls, [1, 2], repeats=1, name="workers")
    assert found.unit == "workers"
    for run in found.runs:
        (role,) = client.get(run.job_id).refresh().roles
        assert role.replicas == run.width
    pools = [pool for pool in client.pools() if pool.name.startswith("workers-")]
    assert {pool.state for pool in pools} == {"CLOSED"}


@pytest.mark.slow
def test_what_fails_names_width_and_rank_and_goes_on_when_it_is_mended(client):
    with pytest.raises(ValueError, match="not with so many") as caught:
        client.scaling_study(shared.s(2), [1, 2], repeats=1, name="mended")
    notes = "\n".join(caught.value.__notes__)
    assert "rank 1 of 2" in notes
    assert "in the scaling study mended: width 2, run 1 of 1" in notes


def test_a_program_that_fails_names_width_and_rank(client):
    command = ["sh", "-c", 'test "$PMI_RANK" != 1']
    with pytest.raises(JobFailedError, match=r"width 2, run 1 of 1: .*rank 1: exit code 1"):
        client.scaling_study(command, [1, 2], repeats=1, name="exit")


@pytest.mark.parametrize("spec", [shared.s(0), ["true"], gridloom.group(one.s(1), one.s(2))])
def test_a_width_that_the_platform_never_holds_is_refused_at_once(client, spec):
    with pytest.raises(InvalidRequestError, match=r"width 900: .*at most 8 cpu"):
        client.scaling_study(spec, [1, 900])


@pytest.mark.parametrize(
    "blow", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGKILL]
)
def test_an_interrupted_study_takes_up_the_run_that_it_was_in(client, home, tmp_path, blow):
    name = f"broken{blow.value}"
    (tmp_path / "study.py").write_text(STUDY.replace('"broken"', f'"{name}"'))
    command = [sys.executable, "study.py", str(home.path), str(tmp_path)]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    made = tmp_path / "made"
    eventually_now(lambda: made.exists() and made.read_text().split() == ["1", "2"])
    process.send_signal(blow)
    _, said = process.communicate(timeout=30)
    assert process.returncode != 0
    assert blow == signal.SIGKILL or f'begun again under its name, "{name}"' in said
    (tmp_path / "go").touch()
    subprocess.run(command, cwd=tmp_path, check=True)
    assert made.read_text().split() == ["1", "2", "3"]
    jobs = list(client.jobs(labels={"study": name}))
    assert sorted(job.info.labels["width"] for job in jobs) == ["1", "2", "3"]


@pytest.mark.slow
def test_workers_of_a_client_that_was_killed_are_gone_before_the_next_run(client, home, tmp_path):
    (tmp_path / "study.py").write_text(CALLS)
    command = [sys.executable, "study.py", str(home.path), str(tmp_path)]
    process = subprocess.Popen(command, cwd=tmp_path)
    eventually_now((tmp_path / "begun").exists)
    process.kill()
    process.wait()
    (left,) = [pool for pool in client.pools() if pool.name == "killed-2" and pool.workers]
    (tmp_path / "go").touch()
    subprocess.run(command, cwd=tmp_path, check=True)
    pools = {pool.id: pool for pool in client.pools() if pool.name.startswith("killed-")}
    assert sorted(pool.name for pool in pools.values()) == ["killed-1", "killed-2", "killed-2"]
    assert pools[left.id].state == "CLOSED"


@pytest.mark.slow
def test_the_command_line_studies_what_a_python_file_holds(home, tmp_path):
    (tmp_path / "own.py").write_text("def twice(number):\n    return 2 * number\n")
    (tmp_path / "grows.py").write_text(
        "import gridloom, own\n"
        "def calls(workers):\n"
        "    twice = gridloom.function(own.twice)\n"
        "    return gridloom.group(twice.s(number) for number in range(2 * workers))\n"
    )
    words = ["--widths", "1,2", "--repeats", "1", "--mode", "weak", "--out", str(tmp_path)]
    ended = home.gridloom("scaling-study", *words, "--spec", f"{tmp_path}/grows.py:calls")
    assert ended.code == 0, ended.err
    assert "weak scaling of 2 calls of twice" in ended.out
    assert "workers" in ended.out


@pytest.mark.slow
def test_the_command_line_shows_the_table_and_writes_the_files(home, tmp_path):
    words = ["--widths", "1,2", "--repeats", "1", "--name", "shell", "--out", str(tmp_path)]
    ended = home.gridloom("scaling-study", *words, "--", "true")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("shell: strong scaling of true")
    assert "Karp-Flatt" in ended.out
    paths = [tmp_path / f"shell.{kind}" for kind in ("json", "png", "svg")]
    assert ended.out.split("\n")[-4:-1] == [str(path) for path in paths]
    again = home.gridloom("scaling-study", *words, "--json", "--", "true")
    document = json.loads(again.out)
    assert document["files"] == [str(path) for path in paths]
    assert document["points"] == json.loads(paths[0].read_text())["points"]
