"""Answers of a world out of a stream of bytes."""

from __future__ import annotations

from gridloom.mpi_jobs.door import _Bytes
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.binary(max_size=30), max_size=8), st.integers(1, 7))
def test_lines_and_sizes_are_read_whatever_the_pieces(contents, step):
    stream = b"".join(b"%d\n" % len(each) + each for each in contents)
    pieces = (stream[at : at + step] for at in range(0, len(stream), step))
    reader = _Bytes(pieces)
    assert [reader.take(int(reader.line())) for _ in contents] == contents
