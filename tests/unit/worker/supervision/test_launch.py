from __future__ import annotations

import contextlib
import os
import signal

import pytest
from gridloom.worker.supervision import handover
from gridloom.worker.supervision.launch import Command, LaunchError, launch

ENV = {"PATH": os.defpath}


@pytest.fixture
def nothing():
    descriptor = os.open(os.devnull, os.O_RDWR)
    yield descriptor
    os.close(descriptor)


def test_a_command_leads_a_session_and_a_group_of_its_own(tmp_path, nothing):
    reading, writing = os.pipe()
    script = "read -r _ _ _ _ pgrp sid _ < /proc/self/stat; echo $pgrp $sid; exit 3"
    command = Command(["sh", "-c", script], ENV, str(tmp_path), (nothing, writing, nothing))
    pid = launch(command)
    os.close(writing)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    with os.fdopen(reading) as pipe:
        assert pipe.read() == f"{pid} {pid}\n"


@contextlib.contextmanager
def ignored(*numbers):
    before = [(number, signal.signal(number, signal.SIG_IGN)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def signals_of(command_line: str) -> set[int]:
    """The numbers in a line such as `SigIgn: 0000000000001000`, but those that are the C library's.

    It keeps 32 and 33 for itself and lets nobody change them: a command inherits what its first
    ancestor had.
    """
    mask = int(command_line.split()[1], base=16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1} - {32, 33}


def test_signals_are_as_the_system_makes_them(tmp_path, nothing):
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    try:
        reading, writing = os.pipe()
        argv = ["grep", "-E", "SigBlk|SigIgn", "/proc/self/status"]
        with ignored(signal.SIGPIPE, signal.SIGUSR2, signal.SIGHUP, 40):
            pid = launch(Command(argv, ENV, str(tmp_path), (nothing, writing, nothing)))
        os.close(writing)
        os.waitpid(pid, 0)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with os.fdopen(reading) as pipe:
        blocked, ignoring = pipe.readlines()
    assert signals_of(blocked) == set()
    assert signals_of(ignoring) == set()


def test_a_command_that_cannot_be_started_leaves_no_child(tmp_path, nothing):
    command = Command(["no-such-thing"], ENV, str(tmp_path), (nothing, nothing, nothing))
    with pytest.raises(LaunchError, match="command not found: no-such-thing") as caught:
        launch(command)
    assert caught.value.exit_code == handover.EXIT_NOT_FOUND
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_command_is_looked_for_on_its_own_path(tmp_path, nothing):
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\nexit 7\n")
    tool.chmod(0o755)
    env = {"PATH": str(tmp_path)}
    pid = launch(Command(["tool"], env, "/", (nothing, nothing, nothing)))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
