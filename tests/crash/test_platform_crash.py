"""The whole embedded platform under SIGKILL: what was accepted ends once, and nothing is left."""

import contextlib
import os
import subprocess
import sys

import gridloom
import pytest
from gridloom.calls.states import CallState
from gridloom.errors import IncompleteError
from gridloom.home import EmbeddedPlatform
from gridloom.jobs.states import JobState

from tests.support.chaos import Chaos, kill, platform_pid, processes_of, survivors

SEEDS = [int(each) for each in os.environ.get("GRIDLOOM_CRASH_SEEDS", "11").split(",")]
# Begins and ends with a line of its own, so that a log with a hole shows.
PROGRAM = "echo begin {index}; sleep 0.2; echo end {index}; exit $(({index} % 3))"
JOBS = 9


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    yield folder
    with contextlib.suppress(ProcessLookupError):
        while (pid := platform_pid(folder)) is not None:
            kill(pid)
    for pid in processes_of(folder):
        kill(pid)


def stop(home):
    """End the platform in good order; then nothing of it may be alive."""
    command = [sys.executable, "-m", "gridloom.cli", "down", "--cancel", "--home", str(home)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert survivors(home, 10.0) == {}


def check_stores(home):
    command = [sys.executable, "-m", "gridloom.cli", "doctor", "--home", str(home)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("seed", SEEDS)
def test_every_job_has_one_end_and_a_whole_log_whatever_is_killed(home, seed):
    victims = ("platform", "platform", "supervisor")
    with gridloom.connect(home=home, timeout="60s") as client:
        with Chaos(home, seed, victims, kills=6):
            requests = [
                {
                    "command": ["sh", "-c", PROGRAM.replace("{index}", str(index))],
                    "cpus": 0.1,
                    "retries": gridloom.Retries(node_lost=10),
                    "request_id": f"job-{index}",
                }
                for index in range(JOBS)
            ]
            jobs = [client.run(**request) for request in requests]
            again = [client.run(**request) for request in requests]
            client.wait(jobs, timeout=90)
        assert [job.id for job in again] == [job.id for job in jobs]
        for index, job in enumerate(jobs):
            info = job.refresh()
            good = index % 3 == 0
            assert info.state is (JobState.SUCCEEDED if good else JobState.FAILED), info
            assert info.exit_code == index % 3
            assert list(job.logs()) == [f"begin {index}", f"end {index}"]
            finals = [event for event in job.events() if event.to_state.is_final]
            assert len(finals) == 1
        assert len(list(client.jobs())) == JOBS
    check_stores(home)
    stop(home)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_every_call_gives_its_result_once_whatever_is_killed(home, seed):
    victims = ("platform", "worker", "pool host", "supervisor")
    with gridloom.connect(home=home, timeout="60s") as client:
        with Chaos(home, seed, victims, kills=6):
            square = gridloom.function(retries=gridloom.Retries(node_lost=20))(_square)
            futures = [client.submit(square, number) for number in range(400)]
            mapped = list(client.map(square, range(400), progress=False))
            singles = [future.result(timeout=90) for future in futures]
        expected = [number * number for number in range(400)]
        assert mapped == expected
        assert singles == expected
    check_stores(home)
    stop(home)


def _square(number):
    import time

    time.sleep(0.002)
    return number * number


# Prints the map's id when so many of its items are with the platform, and is killed then.
CLIENT = """
import sys, time, gridloom

def square(number):
    import time
    time.sleep(0.002)
    return number * number

client = gridloom.connect(home=sys.argv[1])
identifier = f"group_{client.calls.session.name}_1"

def is_there(info):
    return info.sealed if stop is None else info.accepted == stop

def tell():
    while not is_there(client.get(identifier).info):
        time.sleep(0.01)
    print(identifier, flush=True)
    sys.stdin.read()

def items():
    for number in range(300):
        if number == stop:
            tell()
        yield number

stop = int(sys.argv[2]) if len(sys.argv) > 2 else None
for _ in client.map(square, items(), chunk_size=10, progress=False):
    pass
tell()
"""


@pytest.fixture
def impatient(home, monkeypatch):
    """A platform that waits only a moment for clients that are away."""
    monkeypatch.setenv("GRIDLOOM_FUNCTIONS_CLIENT_PATIENCE_S", "0.3")
    EmbeddedPlatform(home).start()


def killed_client(home, *arguments):
    """The id of the map that a client has begun and, killed, will not end."""
    with subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(home), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as client_process:
        group_id = client_process.stdout.readline().strip()
        client_process.kill()
    assert group_id
    return group_id


@pytest.mark.usefixtures("impatient")
def test_a_map_that_was_sent_whole_is_read_by_another_process_after_its_client_was_killed(home):
    group_id = killed_client(home)
    with gridloom.connect(home=home) as client:
        group = client.get(group_id)
        assert list(group.results(timeout=60)) == [number * number for number in range(300)]
        assert group.state is CallState.SUCCEEDED
    check_stores(home)
    stop(home)


@pytest.mark.usefixtures("impatient")
def test_of_a_map_whose_client_was_killed_in_the_middle_readers_get_what_was_sent_and_are_told(
    home,
):
    group_id = killed_client(home, "40")
    with gridloom.connect(home=home) as client:
        group, found = client.get(group_id), []
        with pytest.raises(IncompleteError, match="40 items were accepted") as caught:
            found.extend(group.results(timeout=60))
        assert found == [number * number for number in range(40)]
        assert (caught.value.accepted, caught.value.done) == (40, 40)
        assert group.wait(60) is CallState.FAILED
        assert "went away" in group.info.reason
    check_stores(home)
    stop(home)


def test_a_second_platform_on_the_folder_is_refused_by_the_first_ones_pid(home):
    record = EmbeddedPlatform(home).start()
    command = [sys.executable, "-m", "gridloom_services.embedded", "--home", str(home)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert str(record.pid) in done.stderr
    stop(home)
