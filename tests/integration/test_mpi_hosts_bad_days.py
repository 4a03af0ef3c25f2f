"""Ranks over hosts, on bad days: which host, which rank, why, and that nothing is left anywhere."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import hosts as hosts_of_namespaces
from tests.support.eventually import eventually_now
from tests.support.gangs import TOKEN, Gang, in_network
from tests.support.hosts import Hosts
from tests.support.mpi_programs import BAD_PROGRAM

if TYPE_CHECKING:
    from collections.abc import Iterator

_why_not = hosts_of_namespaces.why_not()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(_why_not), reason=_why_not or "hosts can be made"),
]

WAITS = """
import os, sys
from mpi4py import MPI
MPI.COMM_WORLD.Barrier()
print("together", flush=True)
MPI.COMM_WORLD.recv(source=MPI.ANY_SOURCE)
"""
# Calls the agent of a host, with no proof and with that of each token; prints how that ended.
STRANGER = f"""
import sys, grpc
from gridloom.api.mpi.v1 import agent_pb2, agent_pb2_grpc
from gridloom.worker.mpi.gang.secret import GangSecret
from gridloom.worker.mpi.gang.wire import LAUNCH

stub = agent_pb2_grpc.RankAgentServiceStub(grpc.insecure_channel(sys.argv[1]))
request = agent_pb2.LaunchRequest(command="echo it was run")
for token in ("", "another", {TOKEN!r}):
    proof = GangSecret(token).caller_words(LAUNCH, "host-2") if token else ()
    try:
        answers = list(stub.Launch(iter([request]), metadata=proof, timeout=20))
        print(token, answers[0].stdout.decode().strip(), sep=": ")
    except grpc.RpcError as error:
        print(token, error.code().name, sep=": ")
"""


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    with Hosts(2, tmp_path) as made:
        yield made


def begun(hosts: Hosts, folder: Path) -> Gang:
    """Four ranks that wait for ever, once they have met."""
    gang = Gang.of_program(hosts, folder, 4, WAITS)
    gang.start()
    for agent in gang.agents.values():
        assert agent.stdout is not None
        for _ in range(2):
            assert b"together" in agent.stdout.readline()
    return gang


def agent_on(gang: Gang, name: str) -> int:
    return gang.process(name, "gridloom.worker.rank_agent")


def test_an_agent_that_is_killed_takes_all_ranks_along_and_is_named(hosts, tmp_path):
    gang = begun(hosts, tmp_path)
    os.kill(agent_on(gang, "host-2"), signal.SIGKILL)
    first = gang.ended("host-1")
    assert first.code == 1
    assert "host node-2 (host-2) is gone, and ranks 2-3 with it" in first.err
    gang.assert_gone()


def test_the_first_agent_that_is_killed_takes_all_ranks_along_and_is_named(hosts, tmp_path):
    gang = begun(hosts, tmp_path)
    os.kill(agent_on(gang, "host-1"), signal.SIGKILL)
    second = gang.ended("host-2")
    assert (second.code, "the first host, node-1 (host-1), is gone" in second.err) == (1, True)
    gang.assert_gone()


def test_a_launcher_that_is_killed_takes_all_ranks_along(hosts, tmp_path):
    gang = begun(hosts, tmp_path)
    os.kill(gang.process("host-1", "mpiexec"), signal.SIGKILL)
    assert "mpiexec was killed by SIGKILL" in gang.ended("host-1").err
    assert gang.ended("host-2").code == 0
    gang.assert_gone()


@pytest.mark.parametrize("words", ["gang.shim", "hydra_pmi_proxy"])
def test_what_stands_between_launcher_and_ranks_is_killed(hosts, tmp_path, words):
    gang = begun(hosts, tmp_path)
    os.kill(gang.process("host-1" if words == "gang.shim" else "host-2", words), signal.SIGKILL)
    assert gang.ended("host-1").code != 0
    assert gang.ended("host-2").code == 0
    gang.assert_gone()


def test_ranks_are_told_to_end_everywhere_when_the_first_agent_is(hosts, tmp_path):
    gang = begun(hosts, tmp_path)
    os.kill(agent_on(gang, "host-1"), signal.SIGTERM)
    assert "it was told to end" in gang.ended("host-1").err
    assert gang.ended("host-2").code == 0
    gang.assert_gone()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("abort", "rank 2 called MPI_Abort(7)"),
        ("exit", "rank 2: exit code 9"),
        ("segfault", "rank 2: killed by SIGSEGV"),
    ],
)
def test_a_rank_of_another_host_that_fails_is_named(hosts, tmp_path, how, words):
    gang = Gang.of_program(hosts, tmp_path, 4, BAD_PROGRAM)
    gang.spec.command.append(how)
    first, second = gang.run()
    assert words in first.err, first.err + second.err
    assert first.code != 0
    assert second.code == 0


def raises_far_away(comm):
    if comm.rank == 3:
        raise ValueError("rank 3 has had enough")
    comm.Barrier()


def test_what_a_function_raises_on_another_host_is_the_failure(hosts, tmp_path):
    gang = Gang.of_function(hosts, tmp_path, 4, raises_far_away)
    first, _ = gang.run()
    report = gang.report()
    assert report.failure is not None
    assert (first.code, report.failure.rank) == (1, 3)
    assert report.failure.reason == "rank 3: ValueError: rank 3 has had enough"
    assert [(each.rank, each.kind) for each in report.answers] == [(3, "error")]


def waits_for_ever(comm):
    comm.recv(source=(comm.rank + 1) % comm.size)


def test_ranks_that_hang_say_where_on_every_host(hosts, tmp_path):
    limits = {"timeout_s": 2.0, "limit": "time-out of 2 s"}
    gang = Gang.of_function(hosts, tmp_path, 4, waits_for_ever, **limits)
    first, second = gang.run()
    failure = gang.report().failure
    assert failure is not None
    assert sorted(failure.stacks) == ["0", "1", "2", "3"]
    assert all("waits_for_ever" in stack for stack in failure.stacks.values())
    assert "rank 0 in waits_for_ever" in failure.reason
    assert (first.code, second.code) == (124, 0)


def test_a_host_that_does_not_come_is_named(hosts, tmp_path):
    gang = Gang.of_program(hosts, tmp_path, 4, WAITS, gather_s=1.0)
    gang.start("host-1")
    first = gang.ended("host-1")
    words = "host node-2 (host-2), which has ranks 2-3, cannot be reached: Connection refused"
    assert (first.code, words in first.err) == (127, True), first.err
    gang.assert_gone()


def test_a_host_whose_first_does_not_come_ends_by_itself(hosts, tmp_path):
    gang = Gang.of_program(hosts, tmp_path, 4, WAITS, gather_s=1.0)
    gang.start("host-2")
    second = gang.ended("host-2")
    assert "the first host, node-1 (host-1), has not come within 1 s" in second.err
    assert second.code == 1


def test_a_job_that_waits_for_a_host_can_be_ended(hosts, tmp_path):
    gang = Gang.of_program(hosts, tmp_path, 4, WAITS)
    gang.start("host-1")
    pid = agent_on(gang, "host-1")
    eventually_now(lambda: len(list(Path(f"/proc/{pid}/task").iterdir())) > 1)
    os.kill(pid, signal.SIGTERM)
    assert "it was told to end" in gang.ended("host-1").err
    gang.assert_gone()


def test_a_host_with_another_token_is_not_talked_to(hosts, tmp_path):
    gang = Gang.of_program(hosts, tmp_path, 4, WAITS)
    gang.start("host-2", GRIDLOOM_TOKEN="another")
    gang.start("host-1")
    first = gang.ended("host-1")
    os.kill(agent_on(gang, "host-2"), signal.SIGTERM)
    second = gang.ended("host-2")
    assert "host node-2 (host-2), which has ranks 2-3, cannot be reached: what answers" in first.err
    assert "refused a call of" in second.err
    gang.assert_gone()


def test_a_stranger_s_command_is_refused(hosts, tmp_path):
    gang = begun(hosts, tmp_path)
    address = f"{hosts.addresses['host-2']}:{gang.spec.agent_port}"
    stranger = in_network(agent_on(gang, "host-1"), sys.executable, "-c", STRANGER, address)
    outcomes = dict(line.split(": ") for line in stranger.stdout.splitlines())
    assert outcomes == {
        "": "UNAUTHENTICATED",
        "another": "UNAUTHENTICATED",
        TOKEN: "it was run",
    }, stranger.stderr
    os.kill(agent_on(gang, "host-1"), signal.SIGTERM)
    gang.ended("host-1")
    assert gang.ended("host-2").err.count("refused a call of") == 2
    gang.assert_gone()


def test_a_host_that_falls_silent_is_missed(tmp_path):
    with Hosts(2, tmp_path) as hosts:
        gang = begun(hosts, tmp_path)
        hosts.cut_off("host-2")
        first, second = gang.ended("host-1"), gang.ended("host-2")
        assert "host node-2 (host-2) is gone, and ranks 2-3 with it" in first.err
        assert "does not answer any more" in first.err
        assert "the first host, node-1 (host-1), is gone" in second.err
        gang.assert_gone()
