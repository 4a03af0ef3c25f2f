"""Chunks whose results come whole or in parts."""

from __future__ import annotations

from gridloom.calls.chunk import FAILED_HERE, OK, Chunk
from gridloom.calls.sizing import Sent
from hypothesis import given
from hypothesis import strategies as st


class Receiver:
    def __init__(self) -> None:
        self.pieces = []
        self.ended = 0

    def received(self, chunk, piece) -> None:
        self.pieces.append((piece.first, piece.items, piece.status))
        chunk.pieces[piece.first] = piece

    def finished(self, chunk) -> None:
        assert chunk.is_finished
        self.ended += 1


def new_chunk(items: int) -> tuple[Chunk, Receiver]:
    receiver = Receiver()
    return Chunk(receiver, 0, Sent(items, 0, 0.0)), receiver


def test_a_whole_result_is_one_piece():
    chunk, receiver = new_chunk(4)
    assert chunk.deliver(OK, b"values")
    assert receiver.pieces == [(0, 4, OK)]
    assert receiver.ended == 1


def test_a_whole_result_that_comes_again_changes_nothing():
    chunk, receiver = new_chunk(4)
    chunk.deliver(OK, b"values")
    chunk.deliver(OK, b"values")
    chunk.fail(OSError())
    assert receiver.ended == 1
    assert len(receiver.pieces) == 1


def test_parts_finish_it_together_in_any_order():
    chunk, receiver = new_chunk(4)
    assert not chunk.deliver_part(OK, b"b", 2, 2)
    assert chunk.deliver_part(2, b"a", 0, 2)
    assert receiver.ended == 1
    assert chunk.next_piece().first == 0
    assert chunk.next_piece().first == 2
    assert chunk.is_read


def test_a_part_that_comes_again_changes_nothing():
    chunk, receiver = new_chunk(4)
    chunk.deliver_part(OK, b"a", 0, 2)
    assert not chunk.deliver_part(OK, b"a", 0, 2)
    assert receiver.pieces == [(0, 2, OK)]


def test_a_failure_ends_only_what_has_no_result():
    chunk, receiver = new_chunk(6)
    chunk.deliver_part(OK, b"a", 1, 2)
    chunk.deliver_part(OK, b"a", 4, 1)
    chunk.fail(OSError())
    assert receiver.pieces[2:] == [(0, 1, FAILED_HERE), (3, 1, FAILED_HERE), (5, 1, FAILED_HERE)]
    assert receiver.ended == 1


def test_pieces_are_read_in_order_as_soon_as_they_are_next():
    chunk, _ = new_chunk(3)
    chunk.deliver_part(OK, b"c", 2, 1)
    assert chunk.next_piece() is None
    chunk.deliver_part(OK, b"a", 0, 2)
    assert chunk.next_piece(take=False).first == 0
    assert [chunk.next_piece().first for _ in range(2)] == [0, 2]


@given(st.permutations(range(8)), st.integers(0, 8))
def test_every_item_has_one_result_whatever_comes_when(order, whole_after):
    chunk, receiver = new_chunk(8)
    for position, item in enumerate(order):
        if position == whole_after:
            chunk.deliver(3, b"rest")
        chunk.deliver_part(OK, b"x", item, 1)
        chunk.deliver_part(OK, b"x", item, 1)
    covered = sorted(n for first, items, _ in receiver.pieces for n in range(first, first + items))
    assert covered == list(range(8))
    assert receiver.ended == 1
