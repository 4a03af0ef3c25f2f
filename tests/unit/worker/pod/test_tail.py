from __future__ import annotations

import json

from gridloom.worker.pod.tail import Piece, read_piece


def test_a_piece_begins_where_it_was_asked_for(tmp_path):
    (tmp_path / "stdout").write_bytes(b"0123456789")
    assert read_piece(tmp_path / "stdout", 2, 5) == Piece(b"23456", 2, 7)
    assert read_piece(tmp_path / "stdout", -4, 100) == Piece(b"6789", 6, 10)
    assert read_piece(tmp_path / "stdout", 10, 5) == Piece(b"", 10, 10)


def test_a_stream_that_has_not_begun_is_empty(tmp_path):
    assert read_piece(tmp_path / "stdout", -4, 100) == Piece(b"", 0, 0)


def test_what_is_missing_is_told_of(tmp_path):
    (tmp_path / "stdout").write_bytes(b"0123456789")
    (tmp_path / "stdout.gap").write_text(json.dumps({"first": 2, "end": 8}))
    assert read_piece(tmp_path / "stdout", 0, 100) == Piece(b"01", 0, 2)
    piece = read_piece(tmp_path / "stdout", 2, 100)
    assert b"6 bytes are missing here" in piece.data
    assert read_piece(tmp_path / "stdout", piece.next_offset, 100) == Piece(b"89", 8, 10)
