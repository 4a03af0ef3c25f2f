"""Read and keep the streams of local units."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gridloom.worker.supervision.handover import GAP_SUFFIX
from gridloom.worker.supervision.records import read_record

from gridloom_services.scheduler.runtime.base import LogChunk

if TYPE_CHECKING:
    from pathlib import Path

_COPY_BYTES = 1 << 20


def read_stream(path: Path, offset: int, limit: int, *, is_over: bool) -> LogChunk:
    """Return up to `limit` bytes from `offset` on (negative: from the end).

    What was cut out is told in a line of its own. `is_over` must have been known before the call:
    the process writes no more.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return LogChunk(b"", max(0, offset), max(0, offset), is_over)
    try:
        return _read(descriptor, path, offset, limit, is_over=is_over)
    finally:
        os.close(descriptor)


def _read(descriptor: int, path: Path, offset: int, limit: int, *, is_over: bool) -> LogChunk:
    size = os.fstat(descriptor).st_size
    begin = max(0, size + offset) if offset < 0 else offset
    gap = read_record(path.with_name(path.name + GAP_SUFFIX))
    if gap is not None and gap["first"] <= begin < gap["end"]:
        return LogChunk(missing_part(gap["end"] - begin), begin, gap["end"], complete=False)
    upto = gap["first"] if gap is not None and begin < gap["first"] else size
    data = os.pread(descriptor, max(0, min(limit, upto - begin)), begin)
    after = begin + len(data)
    later = read_record(path.with_name(path.name + GAP_SUFFIX))
    if later != gap:  # cut while it was read: what was read may be a hole
        return _read(descriptor, path, begin, limit, is_over=is_over)
    return LogChunk(data, begin, after, is_over and after >= size)


def missing_part(count: int) -> bytes:
    """Return the line that stands for so many bytes that were not kept."""
    return f"\n[gridloom: {count} bytes are missing here: too much was printed]\n".encode()


def keep_stream(path: Path, target: Path) -> None:
    """Move a finished stream to `target`, to be read with `read_stream` as before.

    It is there for good once the caller has synced the folder of `target`. Nothing is done where
    it is empty or has been moved already. The target is whole or not there, whenever this is cut
    short.
    """
    if not path.exists() or path.stat().st_size == 0:
        return
    gap, kept_gap = (each.with_name(each.name + GAP_SUFFIX) for each in (path, target))
    try:
        # What is missing first: whoever finds the stream is told of it.
        if gap.exists():
            gap.rename(kept_gap)
        path.rename(target)
    except OSError:  # another file system
        _copy(path, gap, target)


def _copy(path: Path, gap: Path, target: Path) -> None:
    """Copy a stream as a reader sees it, what is missing told in its place."""
    aside = target.with_name(f"{target.name}.part")
    with aside.open("wb") as file:
        offset, complete = 0, False
        while not complete:
            chunk = read_stream(path, offset, _COPY_BYTES, is_over=True)
            file.write(chunk.data)
            offset, complete = chunk.next_offset, chunk.complete
        file.flush()
        os.fsync(file.fileno())
    aside.rename(target)
    path.unlink()
    gap.unlink(missing_ok=True)
