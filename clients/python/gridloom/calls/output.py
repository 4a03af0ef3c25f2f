"""What calls print, on its way to the user."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from gridloom import ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

STDERR = 2


class Printed(NamedTuple):
    """A piece of what a call wrote."""

    call_id: str
    # Which item of a chunk of a map; 0 for a single call.
    item: int
    # "stdout" or "stderr".
    stream: str
    text: str

    @classmethod
    def of(cls, session: str, sequence: int, item: int, stream: int, data: bytes) -> Printed:
        """From the wire. Bytes that are not UTF-8 are shown, not lost."""
        name = "stderr" if stream == STDERR else "stdout"
        text = data.decode("utf-8", "backslashreplace")
        return cls(ids.call_id(session, sequence), item, name, text)


def print_here(printed: Printed) -> None:
    """Write it to this process's own standard output or error."""
    stream = sys.stderr if printed.stream == "stderr" else sys.stdout
    stream.write(printed.text)
    stream.flush()


def output_listener(given: object) -> Callable[[Printed], None] | None:
    """What `output=` was given: True prints, a function is called, None and False do nothing."""
    if callable(given):
        return given
    return print_here if given else None


class Lines:
    """Whole lines, without their ends, from text that comes in pieces."""

    def __init__(self) -> None:
        self._rest = ""

    def take(self, piece: str) -> list[str]:
        """The lines that end in this piece."""
        *lines, self._rest = (self._rest + piece).split("\n")
        return lines

    def rest(self) -> list[str]:
        """What came after the last line's end, if anything."""
        return [self._rest] if self._rest else []


def lines_of(pieces: Iterable[str]) -> Iterator[str]:
    """The lines of a text that comes in pieces."""
    lines = Lines()
    for piece in pieces:
        yield from lines.take(piece)
    yield from lines.rest()
