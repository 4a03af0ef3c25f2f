"""Warm worlds: ranks that stay between calls, on a real embedded platform."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import gridloom
import pytest
from gridloom import JobState
from gridloom.errors import ConflictError, JobFailedError, TimeLimitError

from tests.support.eventually import eventually_now
from tests.support.mpi_programs import alive, ranks_of, running

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[gridloom.Client]:
    with (
        running(tmp_path_factory.mktemp("platform") / "home") as home,
        gridloom.connect(home=home.path) as client,
    ):
        yield client


def total(comm, value):
    return os.getpid(), comm.allreduce(value)


def fails_everywhere(comm):
    raise ValueError(f"rank {comm.rank} will not")


def fails_on_one(comm):
    if comm.rank == 1:
        raise KeyError("not here")
    comm.Barrier()


def leaves_a_message(comm):
    if comm.rank == 0:
        comm.send("stale", dest=1)
    raise ValueError("after a message")


def receives(comm):
    if comm.rank == 0:
        comm.send("fresh", dest=1)
        return None
    return comm.recv(source=0)


def dies_on_one(comm):
    if comm.rank == 1:
        os._exit(5)
    comm.Barrier()


def hangs_on_one(comm):
    if comm.rank == 1:
        time.sleep(600)
    comm.Barrier()


def test_calls_find_the_ranks_of_those_before_them(client):
    with client.mpi.world(ranks=2) as world:
        first, second = world.call(total, 1), world.call(total, value=5)
        assert [value for _, value in first + second] == [2, 2, 10, 10]
        assert [pid for pid, _ in first] == [pid for pid, _ in second]
        job = world.job
    eventually_now(lambda: job.state is JobState.SUCCEEDED)
    eventually_now(lambda: alive(job.id) == [])
    with pytest.raises(ConflictError, match="closed"):
        world.call(total, 1)


def test_an_error_on_all_ranks_leaves_the_world_as_it_is(client):
    with client.mpi.world(ranks=2) as world:
        before = world.call(total, 1)
        with pytest.raises(ValueError, match="will not"):
            world.call(fails_everywhere)
        assert world.call(total, 1) == before


def test_what_a_failed_call_left_in_flight_never_reaches_the_next(client):
    with client.mpi.world(ranks=2) as world:
        with pytest.raises(ValueError, match="after a message"):
            world.call(leaves_a_message)
        assert world.call(receives) == [None, "fresh"]


@pytest.mark.parametrize(
    ("function", "error", "words"),
    [
        (fails_on_one, KeyError, "not here"),
        (dies_on_one, JobFailedError, "rank 1: exit code 5"),
        (hangs_on_one, TimeLimitError, "hangs_on_one"),
    ],
)
def test_a_call_that_breaks_the_world_does_not_poison_the_next(client, function, error, words):
    with client.mpi.world(ranks=2, timeout=3) as world:
        before = world.call(total, 1)
        with pytest.raises(error, match=words):
            world.call(function)
        after = world.call(total, 1)
    assert [value for _, value in after] == [2, 2]
    assert {pid for pid, _ in before}.isdisjoint(pid for pid, _ in after)


def test_a_world_whose_ranks_are_killed_says_so_and_has_new_ones(client):
    with client.mpi.world(ranks=2) as world:
        world.call(total, 1)
        os.kill(ranks_of(world.job.id)[0], signal.SIGKILL)
        eventually_now(lambda: world.job.state.is_final)
        assert [value for _, value in world.call(total, 1)] == [2, 2]


def test_idle_ranks_are_given_back_and_come_again(client):
    with client.mpi.world(ranks=2, idle_timeout=0.5) as world:
        world.call(total, 1)
        job = world.job
        eventually_now(lambda: job.state is JobState.SUCCEEDED)
        eventually_now(lambda: alive(job.id) == [])
        assert [value for _, value in world.call(total, 1)] == [2, 2]
        assert world.job.id != job.id


def test_a_function_may_reuse_its_ranks(client):
    reused = gridloom.mpi(ranks=2, reuse=True, idle_timeout="5s")(total)
    first, second = (client.mpi.submit(reused, value).result(60) for value in (1, 2))
    assert [value for _, value in first + second] == [2, 2, 4, 4]
    assert [pid for pid, _ in first] == [pid for pid, _ in second]
    assert client.mpi.submit(reused.options(result="root"), 3).result(60) == (first[0][0], 6)


CALLS = """
import sys, time
from pathlib import Path
import gridloom

def begins(comm, folder):
    (Path(folder) / str(comm.rank)).touch()
    time.sleep(0.3)

with gridloom.connect(home=sys.argv[1]) as client:
    client.mpi.world(ranks=2, idle_timeout=1).call(begins, sys.argv[2])
"""


def test_ranks_whose_client_is_killed_amid_a_call_are_given_back(client, tmp_path):
    before = {job.id for job in client.jobs()}
    dying = subprocess.Popen([sys.executable, "-c", CALLS, client.name, str(tmp_path)])
    eventually_now(lambda: len(list(tmp_path.iterdir())) == 2)
    dying.kill()
    dying.wait()
    (job,) = (job for job in client.jobs() if job.id not in before)
    eventually_now(lambda: alive(job.id) == [])


async def test_a_world_in_an_event_loop_takes_its_calls_one_after_the_other(client):
    async with (
        await gridloom.aio.connect(home=client.name) as aio,
        aio.mpi.world(ranks=2) as world,
    ):
        found = await asyncio.gather(*(world.call(total, value) for value in range(3)))
        assert [[values[1] for values in call] for call in found] == [[0, 0], [2, 2], [4, 4]]
        assert len({values[0] for call in found for values in call}) == 2
        with pytest.raises(ValueError, match="will not"):
            await world.call(fails_everywhere)
        assert world.job is not None
