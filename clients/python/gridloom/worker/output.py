"""What calls print, caught below Python: also from C code and from programs that a call starts.

While a call's output is captured, descriptors 1 and 2 are files in memory. A file never fills up
and blocks its writer, as a pipe would; what is beyond the limit is given back to the machine by the
host, while the call still prints, and its size is all that is kept of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from typing import TYPE_CHECKING

from gridloom.worker.progress import SENT_ERR, SENT_OUT
from gridloom.worker.supervision import processes

if TYPE_CHECKING:
    from collections.abc import Iterator

STDOUT = 1
STDERR = 2

# Of one stream of one item; more is counted, and left out.
LIMIT_BYTES = 1024 * 1024
# A file's blocks are given back once it has grown by this much.
_TRIM_BYTES = 4 * 1024 * 1024


class CaptureFile:
    """One stream's file. The worker reads it; the host keeps it small.

    `SENT_*` words of the worker's header hold how far it has been read, so that the host can read
    the rest of a dead worker's.
    """

    def __init__(self, stream: int) -> None:
        self.stream = stream
        self.descriptor = os.memfd_create(f"gridloom-{stream}", os.MFD_CLOEXEC)
        flags = fcntl.fcntl(self.descriptor, fcntl.F_GETFL)
        fcntl.fcntl(self.descriptor, fcntl.F_SETFL, flags | os.O_APPEND)
        self._word = SENT_OUT if stream == STDOUT else SENT_ERR
        self._trimmed = LIMIT_BYTES

    def unread(self, header: memoryview) -> bytes:
        """What was written since the last time, within the limit of an item."""
        sent = header[self._word]
        size = min(os.fstat(self.descriptor).st_size, LIMIT_BYTES)
        if size <= sent:
            return b""
        data = os.pread(self.descriptor, size - sent, sent)
        header[self._word] = sent + len(data)
        return data

    def finish(self, header: memoryview) -> bytes:
        """The rest of an item's output, with a note where some was left out; empties the file."""
        written = os.fstat(self.descriptor).st_size
        if not written:
            return b""
        data = self.unread(header)
        os.ftruncate(self.descriptor, 0)
        header[self._word] = 0
        if written > LIMIT_BYTES:
            data += _cut_note(written)
        return data

    def trim(self) -> bool:
        """Give back what is beyond the limit; whether the file grows fast enough to look soon."""
        size = os.fstat(self.descriptor).st_size
        if size < self._trimmed:  # emptied meanwhile
            self._trimmed = LIMIT_BYTES
        if size - self._trimmed > _TRIM_BYTES:
            with contextlib.suppress(OSError):  # then it stays as large as it is
                processes.punch_hole(self.descriptor, self._trimmed, size)
            self._trimmed = size
        return size > LIMIT_BYTES

    def close(self) -> None:
        """Give the memory back."""
        os.close(self.descriptor)


def _cut_note(written: int) -> bytes:
    kept = f"{written:,} bytes were printed, {LIMIT_BYTES:,} are kept"
    return f"\n[gridloom: output cut here; {kept}]\n".encode()


class Capture:
    """Turns descriptors 1 and 2 to files and back."""

    def __init__(self, files: tuple[CaptureFile, CaptureFile], header: memoryview) -> None:
        self._files = files
        self._header = header
        self._saved: list[int] = []

    @property
    def is_on(self) -> bool:
        """Whether output goes to the files now."""
        return bool(self._saved)

    def begin(self) -> None:
        """From now on output is captured."""
        if self.is_on:
            return
        flush_python_streams()
        self._saved = [fcntl.fcntl(n, fcntl.F_DUPFD_CLOEXEC, 3) for n in (STDOUT, STDERR)]
        for file in self._files:
            os.dup2(file.descriptor, file.stream)

    def end(self) -> None:
        """Output goes to the job's log again."""
        if not self.is_on:
            return
        flush_python_streams()
        for stream, saved in zip((STDOUT, STDERR), self._saved, strict=True):
            os.dup2(saved, stream)
            os.close(saved)
        self._saved = []

    def pending(self) -> Iterator[tuple[int, bytes]]:
        """What the item has printed so far and was not given out yet, by stream."""
        for file in self._files:
            if data := file.unread(self._header):
                yield file.stream, data

    def item_ended(self) -> Iterator[tuple[int, bytes]]:
        """The rest of what the item printed, by stream. The files are empty then."""
        flush_python_streams()
        for file in self._files:
            if data := file.finish(self._header):
                yield file.stream, data


def flush_python_streams() -> None:
    """Hand what Python holds of the standard streams to the descriptors."""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        # A user's own object may be anything, or closed.
        with contextlib.suppress(Exception):
            if stream is not None:
                stream.flush()
