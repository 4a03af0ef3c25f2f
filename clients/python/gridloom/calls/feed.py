"""Takes items from a source as they are needed and sends them in chunks, through a window.

A source may be endless: no more of it is taken than keeps the workers busy and the results that
nobody has asked for yet within a budget. Of a source whose length is known everything is sent as
soon as the size of the chunks is settled, so that it goes on without this process.
"""

from __future__ import annotations

import math
import threading
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from gridloom.items import ARGUMENTS, VALUE, Form

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gridloom.calls.sizing import ChunkSizes

BUDGET_BYTES = 64 * 1024 * 1024
MOST_CHUNKS = 4096
# Beside its value a result that waits takes about this.
ITEM_OVERHEAD_BYTES = 64


class Window:
    """How much of a source may be on its way or unread. One lock's holder changes it."""

    def __init__(
        self,
        chunks: int,
        *,
        budget_bytes: float = BUDGET_BYTES,
        most_items: int | None = None,
        is_sized: bool = False,
    ) -> None:
        self._limit = max(chunks, 1)
        self._budget = budget_bytes
        self._most_items = most_items
        self._is_sized = is_sized
        self.chunks = 0  # sent and not finished
        self.items = 0  # in those chunks
        self._finished_chunks = 0
        self._finished_items = 0
        self._result_bytes = 0
        self._unread_bytes = 0
        self._unread_items = 0

    def is_open(self, *, settled: bool) -> bool:
        """Whether one more chunk may be sent."""
        if self._most_items is not None and self.items + self._unread_items >= self._most_items:
            return False
        if self._unread_bytes + self.items * self._mean_result_bytes >= self._budget:
            return self.chunks == 0 and self._unread_bytes < self._budget
        return self.chunks < self._limit or (self._is_sized and settled)

    @property
    def _mean_result_bytes(self) -> float:
        return self._result_bytes / max(self._finished_items, 1) + ITEM_OVERHEAD_BYTES

    def sent(self, items: int) -> None:
        """A chunk is on its way."""
        self.chunks += 1
        self.items += items

    def received(self, items: int, size_bytes: int) -> None:
        """Results of some items are here."""
        self.items -= items
        self._finished_items += items
        self._result_bytes += size_bytes
        self._unread_items += items
        self._unread_bytes += size_bytes + items * ITEM_OVERHEAD_BYTES

    def finished(self) -> None:
        """All results of a chunk are here; a whole window of them makes the window wider."""
        self.chunks -= 1
        self._finished_chunks += 1
        if self._finished_chunks >= self._limit:
            self._finished_chunks = 0
            self.widen()

    def read(self, items: int, size_bytes: int) -> None:
        """The user has taken results."""
        self._unread_items -= items
        self._unread_bytes -= size_bytes + items * ITEM_OVERHEAD_BYTES

    def lift(self) -> None:
        """Nobody will read any result: they need no room."""
        self._budget = math.inf

    def widen(self) -> None:
        """Allow twice as many chunks: there may be more workers than was thought."""
        self._limit = min(self._limit * 2, MOST_CHUNKS)


class Source(NamedTuple):
    """What is each item's own, one after the other; what all have in common; how many there are.

    Of some sources nobody knows how many.
    """

    own: Iterator[Any]
    form: Form
    total: int | None

    def after(self, bound: tuple[Any, ...]) -> Source:
        """The same with more arguments before all others."""
        return self._replace(form=self.form.after(bound)) if bound else self


class Outlet(Protocol):
    """Where chunks go."""

    def send(self, own: list[Any]) -> None:
        """Send one chunk, of which these are the items' own parts.

        Waits where the session's own window is full.
        """

    def has_room(self) -> bool:
        """Whether a chunk can be sent without waiting; if not, the outlet wakes who waits."""

    def exhausted(self) -> None:
        """Nothing more comes; said once."""


class Feed:
    """The way of one source. Any thread may pump; one at a time does."""

    def __init__(
        self,
        source: Source,
        outlet: Outlet,
        sizes: ChunkSizes,
        window: Window,
    ) -> None:
        """Of a source that is taken from nowhere else."""
        self._source = source.own
        self._outlet = outlet
        self._sizes = sizes
        self._window = window
        self._total = source.total
        self._taken = 0
        # What was taken to see whether there is more.
        self._ahead: list[Any] = []
        self._pumping = threading.Lock()
        self.is_exhausted = False
        self._said = False
        self.error: BaseException | None = None
        """What the source itself raised: it comes after the results of what came before."""

    def pump(self, *, may_wait: bool) -> None:
        """Send what the window allows. The source's own code runs in the calling thread."""
        if not self._pumping.acquire(blocking=may_wait):
            return
        try:
            while not self.is_exhausted and self._window.is_open(settled=self._sizes.settled):
                if not may_wait and not self._outlet.has_room():
                    return
                self._send_one()
            self._say_if_exhausted()
        finally:
            self._pumping.release()

    def stop(self) -> None:
        """Take nothing more. Never waits: whoever pumps now says that it was the last."""
        self.is_exhausted = True
        if self._pumping.acquire(blocking=False):
            try:
                self._say_if_exhausted()
            finally:
                self._pumping.release()

    def _say_if_exhausted(self) -> None:
        if self.is_exhausted and not self._said:
            self._said = True
            self._outlet.exhausted()

    def _send_one(self) -> None:
        size = self._sizes.next()
        items, self._ahead = self._ahead, []
        self._take(items, size)
        if self._taken == self._total and not self.is_exhausted:
            # Nothing more is to come: then the end is told with these, and not when they are back.
            self._take(self._ahead, 1)
        if items:
            self._outlet.send(items)

    def _take(self, items: list[Any], size: int) -> None:
        """Fill them up to that size, or to the end of the source."""
        before = len(items)
        try:
            items.extend(islice(self._source, size - before))
        except Exception as error:  # noqa: BLE001  # the user's own iterable
            self.error, self.is_exhausted = error, True
        self._taken += len(items) - before
        if len(items) < size:
            self.is_exhausted = True


def zipped(iterables: Sequence[Any], kwargs: dict[str, Any]) -> Source:
    """The items of several iterables in step, as `map` takes them."""
    lengths = [_length(one) for one in iterables]
    known = [length for length in lengths if length is not None]
    total = min(known) if len(known) == len(lengths) and known else None
    if len(iterables) == 1:
        return Source(iter(iterables[0]), Form(VALUE, (), kwargs), total)
    return Source(zip(*iterables, strict=False), Form(ARGUMENTS, (), kwargs), total)


def spread(arguments: Any, kwargs: dict[str, Any]) -> Source:
    """The items of an iterable of argument tuples, as `starmap` takes them."""
    return Source(map(tuple, arguments), Form(ARGUMENTS, (), kwargs), _length(arguments))


def _length(iterable: Any) -> int | None:
    try:
        return len(iterable)
    except TypeError:
        return None
