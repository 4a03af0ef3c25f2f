"""What is piped into `gridloom run`, kept until it has been sent along with the job."""

from __future__ import annotations

import os
import select
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gridloom import units
from gridloom.cli.screen import complain
from gridloom.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

# A job's input is stored before the job is: what is larger is better named as a file.
MOST_BYTES = 256 << 20
_READ_BYTES = 1 << 20
_SILENCE_S = 2.0


@contextmanager
def kept_input(
    descriptor: int | None, *, wanted: bool | None, most_bytes: int = MOST_BYTES
) -> Iterator[Path | None]:
    """A file with all that comes from a descriptor, there while this lasts; None for nothing.

    `wanted` as the user said; None: it is read unless it is a terminal. Waits for its end, and says
    so where that takes long. An InvalidRequestError where it is too large.
    """
    if descriptor is None or wanted is False or (wanted is None and os.isatty(descriptor)):
        yield None
        return
    with tempfile.NamedTemporaryFile(prefix="gridloom-stdin-") as file:
        size_bytes = _copy(descriptor, file.file, most_bytes)
        yield Path(file.name) if size_bytes else None


def own_input() -> int | None:
    """Our standard input; None where we have none."""
    try:
        return sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        return None


def _copy(descriptor: int, file: IO[bytes], most_bytes: int) -> int:
    size_bytes = 0
    _mention_silence(descriptor)
    while data := os.read(descriptor, _READ_BYTES):
        size_bytes += len(data)
        if size_bytes > most_bytes:
            most = units.format_bytes(most_bytes)
            raise InvalidRequestError(
                f"standard input is larger than {most}: send a file with --file NAME, or leave it"
                " alone with --no-stdin",
                field="stdin",
                allowed=f"at most {most}",
            )
        file.write(data)
    file.flush()
    return size_bytes


def _mention_silence(descriptor: int) -> None:
    """Whoever inherits a pipe that nobody closes should know why nothing happens."""
    try:
        ready, _, _ = select.select([descriptor], [], [], _SILENCE_S)
    except (OSError, ValueError):  # not everything that can be read can be waited for
        return
    if not ready:
        complain("gridloom: waiting for the end of standard input (--no-stdin leaves it alone)")
