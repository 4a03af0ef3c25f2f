"""Standard streams that lead each call's output to where it belongs.

For workers that run many calls in one process: there a call is told from others by its context, and
what is written below Python goes to the job's log.
"""

from __future__ import annotations

import io
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, TextIO

from gridloom.worker.output import LIMIT_BYTES, STDERR, STDOUT

if TYPE_CHECKING:
    from collections.abc import Callable

_reader: ContextVar[OutputReader | None] = ContextVar("gridloom_output", default=None)

capture_into = _reader.set


class OutputReader:
    """Takes what one item prints, up to the limit of each stream, and says what was left out."""

    def __init__(self, take: Callable[[int, bytes], None]) -> None:
        self._take = take
        self._written = {STDOUT: 0, STDERR: 0}

    def write(self, stream: int, data: bytes) -> None:
        """The next output of the item."""
        before = self._written[stream]
        self._written[stream] = before + len(data)
        if before < LIMIT_BYTES:
            self._take(stream, data[: LIMIT_BYTES - before])

    def close(self) -> None:
        """The item has ended."""
        for stream, written in self._written.items():
            if written > LIMIT_BYTES:
                kept = f"{written:,} bytes were printed, {LIMIT_BYTES:,} are kept"
                self._take(stream, f"\n[gridloom: output cut here; {kept}]\n".encode())


class RoutedStream(io.TextIOBase):
    """In the place of `sys.stdout` or `sys.stderr`: to the call's reader, or else to the log."""

    def __init__(self, stream: int, log: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._log = log

    def write(self, text: str) -> int:
        """Hand the text on."""
        reader = _reader.get()
        if reader is None:
            return self._log.write(text)
        reader.write(self._stream, text.encode(errors="backslashreplace"))
        return len(text)

    def flush(self) -> None:
        """Hand on what the log holds back."""
        self._log.flush()

    def writable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """That of the log: what is written there belongs to no call."""
        return self._log.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As programs expect it."""
        return "utf-8"


def route_standard_streams() -> None:
    """From now on what calls print can be told apart."""
    sys.stdout = RoutedStream(STDOUT, sys.stdout)
    sys.stderr = RoutedStream(STDERR, sys.stderr)
