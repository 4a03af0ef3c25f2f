"""A chunk of a map on its way: one call, many items, results that may come in parts."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, Protocol

from gridloom.api.functions.v1 import call_pb2
from gridloom.payload import LARGE

if TYPE_CHECKING:
    from gridloom.calls.sizing import Sent

FAILED_HERE = -1
OK = call_pb2.CALL_STATUS_OK


class Piece(NamedTuple):
    """What came of some consecutive items.

    With status OK the value is an envelope of a list; with any other it is a `CallError`, the same
    for each item; with `FAILED_HERE` it is the exception itself.
    """

    first: int
    items: int
    status: int
    value: bytes | BaseException

    @property
    def size_bytes(self) -> int:
        """Of the value, while it waits."""
        return len(self.value) if isinstance(self.value, bytes) else 0

    @property
    def is_large(self) -> bool:
        """Whether the value lies elsewhere and has to be fetched."""
        return self.status == OK and isinstance(self.value, bytes) and self.value[:1] == LARGE


class Receiver(Protocol):
    """What is told of a chunk's results."""

    def received(self, chunk: Chunk, piece: Piece) -> None:
        """These items are over."""

    def finished(self, chunk: Chunk) -> None:
        """All items are."""


class Chunk:
    """The items from `offset` on, `items` of them."""

    __slots__ = (
        "_covered",
        "_left",
        "_receiver",
        "_sequence",
        "items",
        "offset",
        "pieces",
        "position",
        "sent",
    )

    def __init__(self, receiver: Receiver, offset: int, sent: Sent) -> None:
        self._receiver = receiver
        self._sequence = 0
        self.offset = offset
        self.items = sent.items
        self.sent = sent
        # By number of their first item, until they are read; `position` is the first not read.
        self.pieces: dict[int, Piece] = {}
        self.position = 0
        self._left = sent.items
        # One byte an item, 1 where its result is here; made when the first part comes.
        self._covered: bytearray | None = None

    @property
    def sequence(self) -> int:
        """Its number in the session; 0 before it is sent."""
        return self._sequence

    @property
    def is_finished(self) -> bool:
        """Whether every item has its result."""
        return self._left == 0

    def deliver(self, status: int, value: bytes) -> bool:
        """Take what the whole chunk came to, or all of it that has no result yet."""
        return self._settle(status, value)

    def fail(self, error: BaseException) -> bool:
        """End what has no result yet with an error of this side's own."""
        return self._settle(FAILED_HERE, error)

    def deliver_part(self, status: int, value: bytes, first: int, count: int) -> bool:
        """Take the result of some items; a part that came before changes nothing."""
        if self._left == 0:
            return True
        if self._covered is None:
            self._covered = bytearray(self.items)
        if any(self._covered[first : first + count]):
            return False
        self._covered[first : first + count] = b"\x01" * count
        return self._take(Piece(first, count, status, value))

    @property
    def is_read(self) -> bool:
        """Whether every piece was taken."""
        return self.position == self.items

    def next_piece(self, *, take: bool = True) -> Piece | None:
        """The piece that comes next in order, if it is here."""
        piece = self.pieces.get(self.position)
        if piece is not None and take:
            del self.pieces[self.position]
            self.position += piece.items
        return piece

    def _settle(self, status: int, value: bytes | BaseException) -> bool:
        if self._left:
            for first, count in self._gaps():
                self._take(Piece(first, count, status, value))
        return True

    def _gaps(self) -> list[tuple[int, int]]:
        """What has no result yet, as first item and count."""
        if self._covered is None:
            return [(0, self.items)]
        gaps, at = [], 0
        for covered, run in groupby(self._covered):
            count = sum(1 for _ in run)
            if not covered:
                gaps.append((at, count))
            at += count
        return gaps

    def _take(self, piece: Piece) -> bool:
        self._left -= piece.items
        self._receiver.received(self, piece)
        if self._left == 0:
            self._receiver.finished(self)
        return self._left == 0
