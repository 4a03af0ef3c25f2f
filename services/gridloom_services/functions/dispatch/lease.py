"""Leases: what a worker holds under one batch number, until it has answered for it."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from gridloom.values import dataclass

from gridloom_services.functions.ranges import Ranges

if TYPE_CHECKING:
    from gridloom_services.functions.dispatch.block import Span
    from gridloom_services.functions.dispatch.lane import Lane


@dataclass(slots=True)
class Piece:
    """Part of a lease that is not answered. `unit` is the number of its first unit."""

    unit: int
    span: Span


@dataclass(frozen=True, slots=True)
class Answered:
    """Positions of a block that an answer settles; their values begin at `value` in the answer."""

    span: Span
    value: int


class Lease:
    """Spans of one lane in one worker, in the order in which it runs them.

    Units are counted through the whole lease: each call of a plain span, and each part of a chunk
    once. What is settled or revoked is no longer open; an answer for it changes nothing.
    """

    __slots__ = (
        "asked_back",
        "is_sent",
        "item_us",
        "lane",
        "left_units",
        "number",
        "open",
        "progress_at",
        "spans",
        "worker_id",
    )

    def __init__(self, number: int, worker_id: str, lane: Lane, spans: list[Span]) -> None:
        self.number = number
        self.worker_id = worker_id
        self.lane = lane
        self.spans = spans
        """As sent; their bounds change while answers come in."""
        self.is_sent = True
        """Unless it waits for the commit before it may begin."""
        self.item_us = 0.0
        """The estimate it was made with."""
        self.progress_at = 0.0
        """When it was sent, or last answered for."""
        self.asked_back: dict[int, Ranges] = {}
        """By unit: items (of a plain call: 0) that the worker should give back if not begun."""
        self.open: list[Piece] = []
        self.left_units = 0
        """Units that are not fully answered."""
        for span in spans:
            self.open.append(Piece(self.left_units, span))
            self.left_units += span.units

    @property
    def positions(self) -> int:
        """Positions that are not answered."""
        return sum(piece.span.size for piece in self.open)

    def settle(self, unit: int, count: int) -> list[Answered]:
        """Close `count` plain calls from `unit` on (a chunk counts as one and closes whole)."""
        head = self.open[0] if self.open else None
        if head is not None and head.unit == unit and not head.span.block.items:
            size = head.span.size
            if count < size:
                head.unit += count
                self.left_units -= count
                return [Answered(head.span.take(count), 0)]
            if count == size:
                del self.open[0]
                self.left_units -= count
                return [Answered(head.span, 0)]
        return self._settle_anywhere(unit, unit + count)

    def _settle_anywhere(self, first: int, last: int) -> list[Answered]:
        """The same for units that do not come next, or that lie in several pieces."""
        answered: list[Answered] = []
        index = max(bisect_right(self.open, first, key=_unit) - 1, 0)
        while index and self.open[index - 1].unit == first:
            index -= 1
        closed: set[int] = set()
        while index < len(self.open) and self.open[index].unit < last:
            piece = self.open.pop(index)
            kept, span = _cut(piece, first, last)
            if span is not None:
                at = max(piece.unit, first) if span.block.items else _unit_of(piece, span)
                answered.append(Answered(span, at - first))
                closed.update(range(at, at + span.units))
            self.open[index:index] = kept
            index += len(kept)
        self.left_units -= len(closed)
        return answered

    def settle_items(self, unit: int, first: int, count: int) -> list[Span]:
        """Close some items of the chunk in `unit`. Returns what was open of them."""
        closed: list[Span] = []
        kept: list[Piece] = []
        for piece in self.open:
            span = piece.span
            if piece.unit != unit or not span.block.items:
                kept.append(piece)
                continue
            start, stop = max(span.start, first), min(span.stop, first + count)
            if start < stop:
                closed.append(span.part(start, stop))
            kept.extend(Piece(unit, rest) for rest in span.without(start, max(start, stop)))
        self.open = kept
        if closed and not any(piece.unit == unit for piece in kept):
            self.left_units -= 1
        return closed

    def ask_back(self, piece: Piece, start: int, stop: int) -> None:
        """The worker is asked to drop these positions of a piece: they may run elsewhere."""
        if piece.span.block.items:
            self.asked_back.setdefault(piece.unit, Ranges()).add(start, stop)
            return
        shift = piece.unit - piece.span.start
        for position in range(start, stop):
            self.asked_back[position + shift] = Ranges(((0, 1),))

    def was_asked_back(self, unit: int, item: int = 0) -> bool:
        """Whether a worker that dropped this only did what it was asked."""
        asked = self.asked_back.get(unit)
        return asked is not None and item in asked

    def begun(self, unit: int, item: int | None) -> Span | None:
        """The single position that a worker was in: of a plain call, or an item of a chunk."""
        for piece in self.open:
            span = piece.span
            if span.block.items:
                if piece.unit == unit and (item is None or span.start <= item < span.stop):
                    start = span.start if item is None else item
                    return span.part(start, start + 1)
            elif piece.unit <= unit < piece.unit + span.size:
                start = span.start + unit - piece.unit
                return span.part(start, start + 1)
        return None

    def oldest(self) -> Span | None:
        """The first position without an answer."""
        if not self.open:
            return None
        span = self.open[0].span
        return span.part(span.start, span.start + 1)


def _unit(piece: Piece) -> int:
    return piece.unit


def _unit_of(piece: Piece, span: Span) -> int:
    """Number of the first unit of a part of a plain piece."""
    return piece.unit + span.start - piece.span.start


def _cut(piece: Piece, first: int, last: int) -> tuple[list[Piece], Span | None]:
    """What remains of a piece without units `first` to `last`, and what is cut out."""
    span = piece.span
    if span.block.items:
        return ([], span) if first <= piece.unit < last else ([piece], None)
    start = max(span.start + first - piece.unit, span.start)
    stop = min(span.start + last - piece.unit, span.stop)
    if start >= stop:
        return [piece], None
    kept = [Piece(_unit_of(piece, rest), rest) for rest in span.without(start, stop)]
    return kept, span.part(start, stop)
