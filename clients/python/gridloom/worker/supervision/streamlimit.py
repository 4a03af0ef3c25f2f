"""Keep a stream's file within a size: its beginning and its end stay, the middle goes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gridloom.worker.supervision.handover import GAP_SUFFIX
from gridloom.worker.supervision.processes import punch_hole
from gridloom.worker.supervision.records import write_record

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK_BYTES = 4096
_WRITE_BYTES_PER_S = 1 << 30
_SHORTEST_S = 0.01
# Of a stream that nobody writes to: a burst may be too large for this long.
_LONGEST_S = 1.0


class StreamLimit:
    """Watches one file that somebody appends to.

    When it is larger than `limit_bytes` by an eighth, its middle is given back to the disk: half of
    the limit stays of the beginning, half of the end. Offsets stay what they were. What is missing
    is in the record beside it before it is missing. Where the file system has no holes, the end
    goes instead.
    """

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._head = max(_BLOCK_BYTES, limit_bytes // 2 // _BLOCK_BYTES * _BLOCK_BYTES)
        self._tail = self._head
        self._slack = max(_BLOCK_BYTES, limit_bytes // 8)
        self._kept_from = self._head
        self._size = 0
        self._calm = 0

    def look(self) -> None:
        """Cut what is too much. OSError on a full disk; nothing is cut then."""
        size = os.fstat(self._descriptor).st_size
        self._calm = 0 if size > self._size else min(self._calm + 1, 10)
        self._size = size
        if self._size - self._kept_from <= self._tail + self._slack:
            return
        end = (self._size - self._tail) // _BLOCK_BYTES * _BLOCK_BYTES
        gap = self._path.with_name(self._path.name + GAP_SUFFIX)
        write_record(gap, {"first": self._head, "end": end}, durable=False)
        try:
            punch_hole(self._descriptor, self._kept_from, end)
            self._kept_from = end
        except OSError:
            os.ftruncate(self._descriptor, self._head)
            gap.unlink()

    def pause_s(self) -> float:
        """How long not to look again: hardly any writer fills the rest sooner."""
        room = self._kept_from + self._tail + self._slack - self._size
        return min(_LONGEST_S, max(_SHORTEST_S, room / _WRITE_BYTES_PER_S) * 2.0**self._calm)
