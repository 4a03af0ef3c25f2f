"""Programs of ours that begin as a fork of their supervisor."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gridloom.worker.mpi.spec import MPICH, SPEC_VARIABLE, LaunchSpec, to_text
from gridloom.worker.supervision import handover, processes
from gridloom.worker.supervision.entries import own_program

from tests.support.eventually import eventually_now
from tests.support.supervised import Supervised

if TYPE_CHECKING:
    from collections.abc import Iterator

AGENT = "gridloom.worker.rank_agent"


def test_an_agent_for_this_very_interpreter_is_ours():
    assert own_program([sys.executable, "-m", AGENT], {}) == AGENT


def test_so_it_is_by_another_name_of_the_interpreter_in_the_same_folder():
    other = Path(sys.executable).with_name("python3")
    assert own_program([str(other), "-m", AGENT], {}) == AGENT


@pytest.mark.parametrize(
    ("argv", "env"),
    [
        (["/nowhere/python3", "-m", AGENT], {}),
        (["python3", "-m", AGENT], {}),
        ([sys.executable, "-m", "http.server"], {}),
        ([sys.executable, "-m", AGENT, "more"], {}),
        ([sys.executable, "-c", AGENT], {}),
        ([sys.executable, "-m", AGENT], {"GRIDLOOM_HOSTS": "a:1,b:1"}),
        ([], {}),
    ],
)
def test_every_other_command_is_started(argv, env):
    assert own_program(argv, env) == ""


def test_it_begins_as_a_fork_with_its_own_environment_and_streams(tmp_path):
    """An interpreter that was started would not find its own library."""
    spec = LaunchSpec(1, MPICH, ["./there-is-no-such"])
    env = {SPEC_VARIABLE: to_text(spec), "PYTHONHOME": "/nowhere"}
    supervised = Supervised(tmp_path, 0)
    try:
        end = supervised.run(sys.executable, "-m", AGENT, env=env, colocate=True)
    finally:
        supervised.close()
    assert (end.exit_code, end.failure_class) == (127, handover.APPLICATION_ERROR)
    assert f"[agent] {end.reason}" in supervised.stream(handover.STDERR)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Supervised]:
    """With one rank that sleeps."""
    spec = LaunchSpec(1, MPICH, ["sleep", "600"])
    env = {SPEC_VARIABLE: to_text(spec), "PATH": os.environ["PATH"]}
    supervised = Supervised(tmp_path, 0)
    supervised.tell(sys.executable, "-m", AGENT, env=env, colocate=True)
    supervised.begin()
    yield supervised
    supervised.close()


def test_it_is_named_and_hears_signals_as_one_that_was_started(agent):
    """It is told to end, and ends in order: handlers of the supervisor are not left to it."""
    child = agent.running().child
    eventually_now(lambda: b"sleep\n" in map(name_of, processes.descendants(child)))
    assert name_of(child) == b"gl-rank-agent\n"
    agent.stop(20)
    assert agent.wait().failure_class == handover.CANCELLED
    assert "[agent] it was told to end" in agent.stream(handover.STDERR)


def test_an_agent_that_is_told_to_end_while_its_ranks_begin_waits_for_none(agent):
    """They would not hear it. The grace is longer than this test's patience."""
    child = agent.running().child
    eventually_now(lambda: processes.descendants(child))
    agent.stop(600)
    assert agent.wait().failure_class == handover.CANCELLED


def name_of(pid: int) -> bytes:
    return processes.read_proc(f"{pid}/comm")
