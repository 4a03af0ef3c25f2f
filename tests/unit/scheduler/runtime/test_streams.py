from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from gridloom.worker.supervision.records import write_record
from gridloom_services.scheduler.runtime.base import LogChunk
from gridloom_services.scheduler.runtime.streams import keep_stream, read_stream

MISSING = b"\n[gridloom: 8192 bytes are missing here: too much was printed]\n"


@pytest.fixture
def cut(tmp_path):
    """A stream of 4 blocks, the two in the middle gone."""
    path = tmp_path / "stdout"
    path.write_bytes(b"a" * 4096 + bytes(8192) + b"z" * 4096)
    write_record(tmp_path / "stdout.gap", {"first": 4096, "end": 12288}, durable=False)
    return path


def read_all(path, step):
    data, offset, complete = b"", 0, False
    while not complete:
        chunk = read_stream(path, offset, step, is_over=True)
        data, offset, complete = data + chunk.data, chunk.next_offset, chunk.complete
    return data


def test_a_stream_that_is_not_there_yet_is_empty(tmp_path):
    assert read_stream(tmp_path / "no", 5, 10, is_over=False) == LogChunk(b"", 5, 5, complete=False)
    assert read_stream(tmp_path / "no", -5, 10, is_over=True) == LogChunk(b"", 0, 0, complete=True)


def test_a_stream_is_complete_only_when_its_process_is_over(tmp_path):
    path = tmp_path / "stdout"
    path.write_bytes(b"hello")
    assert read_stream(path, 0, 10, is_over=False) == LogChunk(b"hello", 0, 5, complete=False)
    assert read_stream(path, 0, 10, is_over=True) == LogChunk(b"hello", 0, 5, complete=True)


def test_more_than_there_is_from_the_end_is_all_of_it(tmp_path):
    path = tmp_path / "stdout"
    path.write_bytes(b"hello")
    assert read_stream(path, -100, 10, is_over=True).data == b"hello"


def test_what_was_cut_out_is_told_in_its_place(cut):
    assert read_all(cut, 1000) == b"a" * 4096 + MISSING + b"z" * 4096


def test_a_reader_within_the_gap_is_told_what_it_misses_from_there(cut):
    chunk = read_stream(cut, 8192, 100, is_over=True)
    assert b" 4096 bytes are missing" in chunk.data
    assert (chunk.offset, chunk.next_offset, chunk.complete) == (8192, 12288, False)


def test_a_kept_stream_reads_as_it_did(cut, tmp_path):
    before = read_all(cut, 1000)
    target = tmp_path / "kept"
    keep_stream(cut, target)
    assert read_all(target, 1000) == before
    assert read_stream(target, 12288, 3, is_over=True).data == b"zzz"
    keep_stream(cut, target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "kept.gap"]


def test_keeping_that_was_cut_short_is_completed(cut, tmp_path):
    before = read_all(cut, 1000)
    (tmp_path / "stdout.gap").rename(tmp_path / "kept.gap")
    keep_stream(cut, tmp_path / "kept")
    assert read_all(tmp_path / "kept", 1000) == before


def test_an_empty_stream_is_not_kept(tmp_path):
    path = tmp_path / "stdout"
    path.touch()
    keep_stream(path, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


@pytest.mark.skipif(not Path("/dev/shm").is_mount(), reason="there is no other file system")
def test_a_stream_is_kept_on_another_file_system_as_a_reader_sees_it(cut):
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        keep_stream(cut, folder / "kept")
        assert [path.name for path in folder.iterdir()] == ["kept"]
        assert (folder / "kept").read_bytes() == b"a" * 4096 + MISSING + b"z" * 4096
        assert not cut.exists()
    finally:
        shutil.rmtree(folder)
