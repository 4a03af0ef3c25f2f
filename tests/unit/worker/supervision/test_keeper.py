from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gridloom.worker.mpi.spec import MPICH, SPEC_VARIABLE, LaunchSpec, to_text
from gridloom.worker.supervision import handover, processes

from tests.support.eventually import eventually_now
from tests.support.supervised import UNTIL_GO, Supervised, is_gone

if TYPE_CHECKING:
    from collections.abc import Iterator

KEEPER = "from gridloom.worker.supervision.keeper import main; main()"


class Door:
    """A keeper, and the socket to it."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(20)
        leak = os.open(os.devnull, os.O_RDONLY)
        starter = subprocess.Popen([sys.executable, "-c", KEEPER], stdin=theirs, pass_fds=[leak])
        os.close(leak)
        theirs.close()
        assert self.socket.recv(100) == b"ready"
        assert starter.wait() == 0
        self.supervisors: list[int] = []

    def launch(self, supervised: Supervised) -> int:
        self.socket.send(os.fsencode(supervised.path))
        self.supervisors.append(int(self.socket.recv(100)))
        return self.supervisors[-1]

    def keeper(self) -> int:
        stat = processes.read_proc(f"{self.supervisors[-1]}/stat").decode()
        return int(stat.rpartition(") ")[2].split()[1])

    def close(self) -> None:
        self.socket.close()
        processes.send(self.supervisors, signal.SIGTERM)


@pytest.fixture
def door() -> Iterator[Door]:
    made = Door()
    yield made
    made.close()


@pytest.fixture
def supervised(tmp_path: Path) -> Supervised:
    return Supervised(tmp_path, 0)


def test_a_launched_supervisor_does_its_work(door, supervised):
    supervised.tell("sh", "-c", "exit 3")
    door.launch(supervised)
    eventually_now(supervised.end)
    assert supervised.end().exit_code == 3


def test_a_command_has_no_descriptors_but_its_streams(door, supervised):
    supervised.tell("ls", "/proc/self/fd")
    door.launch(supervised)
    eventually_now(supervised.end)
    # The fourth is the folder that ls reads.
    assert supervised.stream().split() == ["0", "1", "2", "3"]


def test_a_supervisor_answers_to_no_terminal_and_no_keeper(door, supervised):
    supervised.tell("sleep", "1000")
    pid = door.launch(supervised)
    supervised.running()
    assert processes.session(pid) == pid
    assert Path(f"/proc/{pid}/fd/0").readlink() == Path(os.devnull)
    assert processes.read_proc(f"{pid}/comm") == b"gl-supervisor\n"


def test_what_a_killed_supervisor_leaves_is_ended_at_once(door, supervised):
    supervised.tell("sh", "-c", "env -i setsid sh -c 'sleep 1000 & sleep 1000' & wait")
    pid = door.launch(supervised)
    eventually_now(lambda: len(processes.descendants(pid)) == 4)
    tree = processes.descendants(pid)
    os.kill(pid, signal.SIGKILL)
    eventually_now(lambda: all(map(is_gone, tree)))
    assert supervised.end() is None


def test_other_supervisors_are_left_alone_when_one_is_killed(door, tmp_path):
    first, second = Supervised(tmp_path, 1), Supervised(tmp_path, 2)
    for each in (first, second):
        each.tell("sh", "-c", f"{UNTIL_GO}; exit 4")
        door.launch(each)
        each.running()
    os.kill(door.supervisors[0], signal.SIGKILL)
    second.go()
    eventually_now(second.end)
    assert second.end().exit_code == 4


def test_a_keeper_stays_until_its_last_supervisor_has_ended(door, supervised):
    supervised.tell("sh", "-c", UNTIL_GO)
    door.launch(supervised)
    supervised.running()
    keeper = door.keeper()
    door.socket.close()
    os.kill(keeper, signal.SIGTERM)
    assert not is_gone(keeper)
    supervised.go()
    eventually_now(lambda: is_gone(keeper))
    assert supervised.end().exit_code == 0


def test_a_folder_that_is_not_there_harms_nobody(door, supervised, tmp_path):
    door.socket.send(os.fsencode(tmp_path / "no" / "such"))
    pid = int(door.socket.recv(100))
    eventually_now(lambda: is_gone(pid))
    supervised.tell("true")
    door.launch(supervised)
    eventually_now(supervised.end)
    assert (supervised.path / handover.ERRORS).read_text() == ""


def test_a_program_of_ours_runs_in_a_fork_whether_it_was_loaded_before_or_not(door, tmp_path):
    """An interpreter that was started would not find its own library."""
    spec = LaunchSpec(1, MPICH, ["./there-is-no-such"])
    env = {SPEC_VARIABLE: to_text(spec), "PYTHONHOME": "/nowhere"}
    for number in range(3):
        supervised = Supervised(tmp_path, number)
        command = (sys.executable, "-m", "gridloom.worker.rank_agent")
        supervised.tell(*command, env=env, colocate=True)
        door.launch(supervised)
        eventually_now(supervised.end)
        assert supervised.end().exit_code == 127
        assert "[agent]" in supervised.stream(handover.STDERR)
