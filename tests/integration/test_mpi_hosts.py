"""Ranks over hosts that are made of namespaces: an agent on each, without SSH."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest

from tests.support import hosts as hosts_of_namespaces
from tests.support.gangs import Gang
from tests.support.hosts import Hosts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
def test_what_a_function_gives_back_comes_from_every_host(hosts, tmp_path):
    gang = Gang.of_function(hosts, tmp_path, 2, place_of_all)
    ends = gang.run()
    assert [end.code for end in ends] == [0, 0], ends
    values = [pickle.loads(each.data) for each in gang.report().answers]
    both = ["host-1", "host-2"]
    assert values == [(0, both, bytes(3 << 20)), (1, both, bytes(3 << 20))]
