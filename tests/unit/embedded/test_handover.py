from __future__ import annotations

import os
import threading

import pytest
from gridloom_services.common.errors import FolderInUseError
from gridloom_services.common.lock import FolderLock
from gridloom_services.embedded.handover import take_home
from gridloom_services.embedded.record import PlatformRecord


def record(home, pid):
    PlatformRecord("h:1", pid, 0.0, "token").write(home)


def test_a_home_is_made_for_its_owner_alone(tmp_path):
    with take_home(tmp_path / "a" / "b", 0):
        assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_platform_that_is_ready_is_not_waited_for(tmp_path):
    record(tmp_path, os.getpid())
    with FolderLock(tmp_path), pytest.raises(FolderInUseError, match=f"pid {os.getpid()}"):
        take_home(tmp_path, 3600)


def test_a_platform_that_ends_is_waited_for(tmp_path):
    # The record is of one that was killed long ago; who holds the lock has none of its own.
    record(tmp_path, 999_999_999)
    ending = FolderLock(tmp_path)
    threading.Timer(0.1, ending.release).start()
    with take_home(tmp_path, 3600):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_one_that_never_ends_is_waited_for_within_patience(tmp_path):
    with FolderLock(tmp_path), pytest.raises(FolderInUseError):
        take_home(tmp_path, 0.05)
