"""Ranks over hosts that are made of namespaces: an agent on each, without SSH."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING

import pytest
from gridloom.studies.stretch import cores_of
from gridloom.worker.mpi.names import TIMES_VARIABLE
from gridloom.worker.mpi.report import decoded

from tests.support import hosts as hosts_of_namespaces
from tests.support.gangs import Gang, pickle_of
from tests.support.hosts import Hosts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gridloom.worker.mpi.report import Report

_why_not = hosts_of_namespaces.why_not()
pytestmark = pytest.mark.skipif(bool(_why_not), reason=_why_not or "hosts can be made")

ACROSS = """
import os
from mpi4py import MPI

comm = MPI.COMM_WORLD
after = comm.sendrecv(comm.rank, (comm.rank + 1) % comm.size, source=(comm.rank - 1) % comm.size)
together = comm.Split_type(MPI.COMM_TYPE_SHARED).size
print(MPI.Get_processor_name(), os.path.basename(os.getcwd()), after, comm.allreduce(1), together)
"""


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    with Hosts(2, tmp_path) as made:
        yield made


def test_ranks_of_two_hosts_talk_to_each_other(hosts, tmp_path):
    first, second = Gang.of_program(hosts, tmp_path, 4, ACROSS).run()
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert sorted(first.out.splitlines()) == [
        "[0] host-1 host-1 3 4 2",
        "[1] host-1 host-1 0 4 2",
    ]
    assert sorted(second.out.splitlines()) == [
        "[2] host-2 host-2 1 4 2",
        "[3] host-2 host-2 2 4 2",
    ]


def place_of_all(comm):
    from mpi4py import MPI

    return comm.rank, comm.allgather(MPI.Get_processor_name()), bytes(3 << 20)


@pytest.mark.slow
def test_the_first_host_knows_when_ranks_of_all_hosts_were_at_work(hosts, tmp_path):
    gang = Gang(hosts, tmp_path, 4, command=["true"])
    gang.start(**{TIMES_VARIABLE: "times.json"})
    assert [gang.ended(name).code for name in hosts.names] == [0, 0]
    first, second = (
        json.loads(gang.folder(name).joinpath("times.json").read_text()) for name in hosts.names
    )
    assert sorted(rank["rank"] for rank in first["ranks"]) == [0, 1, 2, 3]
    assert all(rank["began_at"] <= rank["ended_at"] for rank in first["ranks"])
    # A study adds up the processors of all hosts.
    assert second["ranks"] == []
    assert [first["host"], second["host"]] == ["host-1", "host-2"]
    assert cores_of([first, second]) == len(first["cpus"]) + len(second["cpus"])
    gang.assert_gone()


@pytest.mark.slow
def test_what_a_function_gives_back_comes_from_every_host(hosts, tmp_path):
    gang = Gang.of_function(hosts, tmp_path, 2, place_of_all)
    ends = gang.run()
    assert [end.code for end in ends] == [0, 0], ends
    values = [pickle.loads(each.data) for each in gang.report().answers]
    both = ["host-1", "host-2"]
    assert values == [(0, both, bytes(3 << 20)), (1, both, bytes(3 << 20))]


def sum_of(comm, blob):
    return comm.allreduce(len(blob)), comm.rank


def fails_on_the_last(comm, blob):
    if comm.rank == comm.size - 1:
        raise ValueError("the last rank has had enough")
    return comm.rank


class Door:
    """A client of a world, in the words of `gridloom.worker.mpi.world`."""

    def __init__(self, gang: Gang) -> None:
        process = gang.door()
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._calls, self._answers = process, process.stdin, process.stdout
        self._number = 0

    def call(self, function: Callable[..., object], *args: object) -> tuple[Report, bool]:
        self._number += 1
        pickle = pickle_of(function, *args)
        self._calls.write(b"%d %d\n" % (self._number, len(pickle)) + pickle)
        self._calls.flush()
        assert self._answers.readline().split()[0] == b"-%d" % self._number
        _, size, goes_on = map(int, self._answers.readline().split())
        return decoded(self._answers.read(size)), bool(goes_on)

    def close(self) -> None:
        self._calls.write(b"-1 0\n")
        self._calls.close()
        self._process.wait()
        self._answers.close()


@pytest.mark.slow
def test_a_world_over_hosts_takes_one_call_after_the_other(hosts, tmp_path):
    gang = Gang(hosts, tmp_path, 4, function="world", idle_timeout_s=60.0)
    gang.start()
    door = Door(gang)
    blob = bytes(3 << 20)
    for _ in range(3):
        report, _ = door.call(sum_of, blob)
        values = [pickle.loads(each.data) for each in report.answers]
        assert values == [(4 * len(blob), rank) for rank in range(4)]
    failed, goes_on = door.call(fails_on_the_last, b"")
    assert failed.failure is not None
    assert (failed.failure.reason, goes_on) == (
        "rank 3: ValueError: the last rank has had enough",
        True,
    )
    again, _ = door.call(sum_of, b"x")
    assert [pickle.loads(each.data)[0] for each in again.answers] == [4] * 4
    door.close()
    assert [gang.ended(name).code for name in hosts.names] == [0, 0]
    gang.assert_gone()
