from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest
from gridloom.worker.supervision.records import (
    read_record,
    take_lock,
    write_record,
    write_whole,
)

from tests.support.supervised import is_gone


@pytest.mark.parametrize("durable", [True, False])
def test_a_record_is_read_back_and_replaced(tmp_path, durable):
    path = tmp_path / "a.json"
    write_record(path, {"a": [1, None, "ä"]}, durable=durable)
    assert read_record(path) == {"a": [1, None, "ä"]}
    write_record(path, {"b": 2}, durable=durable)
    assert read_record(path) == {"b": 2}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("content", ["", "{", "[1]", "\0\0\0"])
def test_what_is_no_record_is_none(tmp_path, content):
    path = tmp_path / "a.json"
    assert read_record(path) is None
    assert read_record(path / "below") is None
    path.write_text(content)
    assert read_record(path) is None


def test_a_record_that_cannot_be_written_leaves_the_old_one_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    write_record(path, {"old": 1}, durable=True)
    # What it writes aside goes to a device that is always full.
    aside = tmp_path / f"a.json.{os.getpid()}.tmp"
    aside.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_record(path, {"new": 1}, durable=False)
    assert read_record(path) == {"old": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "no" / "a", b"", durable=False)


def test_a_lock_is_anothers_until_it_is_let_go_of(tmp_path):
    path = tmp_path / "lock"
    first = take_lock(path)
    assert first is not None
    assert take_lock(path) is None
    os.close(first)
    second = take_lock(path)
    assert second is not None
    os.close(second)


def test_a_lock_ends_with_its_holder_and_is_not_inherited(tmp_path):
    path = tmp_path / "lock"
    holder = (
        "import sys, subprocess, pathlib\n"
        "from gridloom.worker.supervision.records import take_lock\n"
        "take_lock(pathlib.Path(sys.argv[1]))\n"
        "child = subprocess.Popen(['sleep', '1000'])\n"
        "print(child.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", holder, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        child = int(process.stdout.readline())
        assert take_lock(path) is None
        process.kill()
    taken = take_lock(path)
    assert taken is not None
    assert not is_gone(child)
    os.close(taken)
    os.kill(child, 9)
