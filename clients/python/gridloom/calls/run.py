"""A map under way: chunks out, results in, and whoever waits for them woken.

Its lock is held for moments only, never while the user's code runs. `close` takes no lock at all:
the garbage collector may call it anywhere.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from gridloom import ids
from gridloom.calls.chunk import Chunk, Piece
from gridloom.calls.feed import BUDGET_BYTES, Feed, Window
from gridloom.calls.future import OK
from gridloom.calls.sending import put_encoded
from gridloom.calls.sizing import ChunkSizes, Sent
from gridloom.errors import GridloomError
from gridloom.items import Items

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom.calls.feed import Source
    from gridloom.calls.route import Route

# How long a waiting map looks at a window that may be too narrow before it widens it.
LOOK_AGAIN_S = 0.1


class Failure:
    """An item that has no value."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class MapRun:
    """One map. Results are taken in the order of the items, or (not `in_order`) as they come."""

    def __init__(
        self,
        route: Route,
        source: Source,
        *,
        group: int,
        in_order: bool = True,
        chunk_size: int | None = None,
        budget_bytes: float = BUDGET_BYTES,
        most_items: int | None = None,
    ) -> None:
        self.route = route
        self.group = group
        self.total = total = source.total
        self.submitted = 0
        self.done = 0
        self.failed = 0
        self._is_closed = False  # results are dropped
        self._is_cancelled = False
        self._in_order = in_order
        self._changed = threading.Condition()
        self._wakers: list[Callable[[], None]] = []
        self._unread: deque[Chunk] = deque()
        self._pieces: deque[Piece] = deque()
        self._unfinished: set[Chunk] = set()
        self._first: Chunk | None = None
        self._sizes = ChunkSizes(route.workers, total=total, item_s=route.item_s, fixed=chunk_size)
        self._window = Window(
            4 * route.workers,
            budget_bytes=budget_bytes,
            most_items=most_items,
            is_sized=total is not None,
        )
        self._form = source.form
        self._feed = Feed(source, self, self._sizes, self._window)

    @property
    def id(self) -> str:
        """The group's id: `client.get(id)` reads the results, also from another process."""
        return ids.group_id(self.route.session.name, self.group)

    @property
    def first_call(self) -> int:
        """The number of its first call; 0: none was put."""
        return self._first.sequence if self._first is not None else 0

    @property
    def is_over(self) -> bool:
        """Every item there is has its result."""
        return self._feed.is_exhausted and not self._unfinished

    # ---- sending

    def pump(self, *, may_wait: bool) -> None:
        """Send what the window allows; the group is sealed after the last of it."""
        told = self.route.session.estimates.get(self.route.spec)
        if told is not None:
            self._sizes.told(told)
        self._feed.pump(may_wait=may_wait)

    def start_feeding(self) -> None:
        """Send everything in a thread of its own, as fast as it goes."""
        if not self._feed.is_exhausted:
            threading.Thread(target=self._feed_all, name="gridloom-map", daemon=True).start()

    def _feed_all(self) -> None:
        while not self._feed.is_exhausted:
            self.pump(may_wait=True)
            self.wait(LOOK_AGAIN_S, until_open=True)

    def wait(self, timeout: float | None, *, until_open: bool = False) -> None:
        """Wait for a change; a window that stays shut may be too narrow, and is widened."""
        with self._changed:
            if until_open and (self._feed.is_exhausted or self._window_is_open()):
                return
            if not until_open and (self._has_unread() or self.is_over):
                return
            if not self._changed.wait(timeout) and not self._feed.is_exhausted:
                self._window.widen()

    def widen(self) -> None:
        """Send more at once: nothing has come back for a while."""
        with self._changed:
            if not self._feed.is_exhausted:
                self._window.widen()

    @property
    def is_fed(self) -> bool:
        """Whether nothing more has to be sent by whoever takes the results."""
        return self.total is not None or self._feed.is_exhausted

    def exhausted(self) -> None:
        """Nothing more will be sent: the group is complete."""
        self.route.session.seal(self.group)
        if self._is_cancelled:
            self._cancel_unfinished()
        self.wake()

    def _window_is_open(self) -> bool:
        return self._window.is_open(settled=self._sizes.settled)

    def has_room(self) -> bool:
        """Whether the session takes a chunk now; if not, whoever waits is woken when it does."""
        return self.route.session.outbox.has_room(self.wake)

    def send(self, own: list[Any]) -> None:
        """Send one chunk; where it cannot be pickled, item by item, so that only some fail."""
        items = Items(self._form, own)
        encode, durable = self.route.session.codec.encode_chunk, self.route.durable
        try:
            encoded = encode(items, self.submitted, durable=durable)
        except Exception as error:  # noqa: BLE001  # pickling runs the user's code
            self._send_apart(own, error)
            return
        if encoded.dependencies and len(own) > 1:  # each waits for its own
            self._send_apart(own)
            return
        chunk = self._new_chunk(len(own))
        self._sizes.sent(len(own), len(encoded.data))
        try:
            again = partial(encode, items, durable=durable)
            put_encoded(self.route, chunk, encoded, again, items=len(own))
        except GridloomError as error:  # the session has ended: nothing more can be sent
            self._feed.stop()
            chunk.fail(error)

    def _send_apart(self, own: list[Any], error: BaseException | None = None) -> None:
        if error is not None and len(own) == 1:
            self._new_chunk(1).fail(error)
        else:
            for one in own:
                self.send([one])

    def _new_chunk(self, items: int) -> Chunk:
        with self._changed:
            sent = Sent(items, self._window.items, time.monotonic())
            chunk = Chunk(self, self.submitted, sent)
            self.submitted += items
            self._window.sent(items)
            self._unfinished.add(chunk)
            self._first = self._first or chunk
            if self._in_order:
                self._unread.append(chunk)
        return chunk

    # ---- receiving: the session's thread

    def received(self, chunk: Chunk, piece: Piece) -> None:
        """Keep the results of some items until they are asked for."""
        with self._changed:
            self.done += piece.items
            if piece.status != OK:
                self.failed += piece.items
            self._window.received(piece.items, piece.size_bytes)
            if self._is_closed:
                self._window.read(piece.items, piece.size_bytes)
            elif self._in_order:
                chunk.pieces[piece.first] = piece
            else:
                self._pieces.append(piece)

    def finished(self, chunk: Chunk) -> None:
        """Note how long a chunk took, and wake who waits."""
        with self._changed:
            self._sizes.measured(chunk.sent, time.monotonic())
            self._window.finished()
            self._unfinished.discard(chunk)
        if self.is_over and self._sizes.item_s is not None:
            self.route.remember(self._sizes.item_s)
        self.wake()

    def wake(self) -> None:
        """Something has changed: results, or room in the session's window."""
        with self._changed:
            wakers, self._wakers = self._wakers, []
            self._changed.notify_all()
        for waker in wakers:
            waker()

    def when_changed(self, waker: Callable[[], None]) -> bool:
        """Have `waker` called at the next change; False, and it is not, where results wait."""
        with self._changed:
            if self._has_unread() or self.is_over:
                return False
            self._wakers.append(waker)
            return True

    # ---- taking

    @property
    def error(self) -> BaseException | None:
        """What the source raised; it ends the map after the results of what came before."""
        return self._feed.error

    def take(self) -> list[Any] | None:
        """The next results, decoded, failures as `Failure`; None: there are none now."""
        with self._changed:
            piece = self._next(take=True)
            if piece is None:
                return None
            self._window.read(piece.items, piece.size_bytes)
            self._changed.notify_all()
        return self._decoded(piece)

    def next_is_large(self) -> bool:
        """Whether taking the next results means to fetch them."""
        with self._changed:
            piece = self._next(take=False)
        return piece is not None and piece.is_large

    def _has_unread(self) -> bool:
        return self._next(take=False) is not None

    def _next(self, *, take: bool) -> Piece | None:
        if not self._in_order:
            if not self._pieces:
                return None
            return self._pieces.popleft() if take else self._pieces[0]
        while self._unread and self._unread[0].is_read:
            self._unread.popleft()
        return self._unread[0].next_piece(take=take) if self._unread else None

    def _decoded(self, piece: Piece) -> list[Any]:
        value = piece.value
        if isinstance(value, BaseException):
            return [Failure(value)] * piece.items
        if piece.status != OK:
            return [Failure(self._error(piece.status, value)) for _ in range(piece.items)]
        try:
            values: list[Any] = self.route.session.load(value)
        except Exception as error:  # noqa: BLE001  # unpickling runs the user's code
            return [Failure(error)] * piece.items
        return values

    def _error(self, status: int, value: bytes) -> BaseException:
        return self.route.session.error_of(status, value)

    # ---- ending

    def cancel(self, grace_s: float | None = None) -> None:
        """Send nothing more; what has not begun will not, what runs is interrupted."""
        self._is_cancelled = True
        self._feed.stop()
        self._cancel_unfinished(grace_s)
        self.wake()

    def close(self) -> None:
        """As `cancel`, and no result is kept any more."""
        self._is_closed = self._is_cancelled = True
        self._feed.stop()
        self._cancel_unfinished()

    def abandon(self) -> None:
        """Nobody will read the results here: the rest is sent, and nothing is kept."""
        self._is_closed = True
        self._window.lift()

    def cancel_waiting(self) -> None:
        """Send nothing more; what has not begun will not, what runs ends by itself."""
        self._feed.stop()
        self._cancel_unfinished(running=False)

    def wait_over(self, timeout: float | None = None) -> bool:
        """Whether every item has its result, after that time at most.

        Only for a map that is fed by itself.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self.is_over, timeout)

    def _cancel_unfinished(self, grace_s: float | None = None, *, running: bool = True) -> None:
        numbers = sorted(chunk.sequence for chunk in list(self._unfinished) if chunk.sequence)
        for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
            calls = [number for _, number in run]
            self.route.session.cancel(calls[0], len(calls), running=running, grace_s=grace_s)
