"""Reads a piece of a command's stream, for a scheduler that asks while it runs.

`python -m gridloom.worker.pod.tail STREAM OFFSET LIMIT WAIT_S` prints a line of JSON (where the
piece begins, and where to read on), then the piece.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from gridloom.worker.pod.order import RUN
from gridloom.worker.supervision.handover import GAP_SUFFIX
from gridloom.worker.supervision.records import read_record

if TYPE_CHECKING:
    from pathlib import Path

_PAUSE_S = 0.05


class Piece(NamedTuple):
    """Bytes of a stream. `next_offset` is further on where the middle of the stream is missing."""

    data: bytes
    offset: int
    next_offset: int


def read_piece(path: Path, offset: int, limit: int) -> Piece:
    """Return up to `limit` bytes from `offset` on; a negative one counts from the end."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return Piece(b"", max(0, offset), max(0, offset))
    try:
        size = os.fstat(descriptor).st_size
        begin = max(0, size + offset) if offset < 0 else offset
        gap = read_record(path.with_name(path.name + GAP_SUFFIX))
        if gap is not None and gap["first"] <= begin < gap["end"]:
            return Piece(_missing(gap["end"] - begin), begin, gap["end"])
        upto = gap["first"] if gap is not None and begin < gap["first"] else size
        data = os.pread(descriptor, max(0, min(limit, upto - begin)), begin)
        return Piece(data, begin, begin + len(data))
    finally:
        os.close(descriptor)


def _missing(count: int) -> bytes:
    return f"\n[gridloom: {count} bytes are missing here: too much was printed]\n".encode()


def main(arguments: list[str]) -> int:
    """Entry."""
    stream, offset, limit, wait_s = arguments
    deadline = time.monotonic() + float(wait_s)
    piece = read_piece(RUN / stream, int(offset), int(limit))
    while not piece.data and time.monotonic() < deadline:
        time.sleep(_PAUSE_S)
        piece = read_piece(RUN / stream, int(offset), int(limit))
    header = {"offset": piece.offset, "next_offset": piece.next_offset}
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + piece.data)
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
