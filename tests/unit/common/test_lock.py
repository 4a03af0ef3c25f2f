from __future__ import annotations

import os
import subprocess
import sys

import pytest
from gridloom_services.common.errors import FolderInUseError
from gridloom_services.common.lock import FolderLock

HOLDER = """
import sys, pathlib
from gridloom_services.common.lock import FolderLock
lock = FolderLock(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_the_second_is_refused_by_the_pid_of_the_first(tmp_path):
    with FolderLock(tmp_path), pytest.raises(FolderInUseError, match=f"pid {os.getpid()}"):
        FolderLock(tmp_path)


def test_after_the_first_has_let_go_the_second_may(tmp_path):
    FolderLock(tmp_path).release()
    with FolderLock(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_killed_holder_holds_nothing(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(FolderInUseError, match=f"pid {holder.pid}"):
            FolderLock(tmp_path)
        holder.kill()
        holder.wait()
        FolderLock(tmp_path).release()


def test_a_started_program_does_not_inherit_it(tmp_path):
    lock = FolderLock(tmp_path)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        lock.release()
        FolderLock(tmp_path).release()
        child.kill()
