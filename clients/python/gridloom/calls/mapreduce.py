"""Map and fold on the workers: each chunk gives one value, and a tree of calls folds those.

The tree keeps the order of the items, so the fold has to be associative, not commutative. Its
inner calls wait for each other by dependencies; only the last value is fetched.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, cast

from gridloom import ids, units
from gridloom.calls.composed import Folded, MapReduced, composed
from gridloom.calls.feed import Feed, Window, zipped
from gridloom.calls.function import Function
from gridloom.calls.mapping import split_options
from gridloom.calls.progress import progress_for
from gridloom.calls.run import LOOK_AGAIN_S
from gridloom.calls.sending import send_call
from gridloom.calls.sizing import ChunkSizes, Sent
from gridloom.calls.waiting import attended
from gridloom.items import Items

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gridloom.calls.client import Calls
    from gridloom.calls.feed import Source
    from gridloom.calls.future import CallFuture
    from gridloom.calls.options import CallOptions
    from gridloom.calls.progress import Progress
    from gridloom.calls.route import Route

# So many values are folded by one call.
FAN_IN = 8

REDUCE_WORDS = frozenset({"reduce", "initial", "kwargs", "progress", "chunk_size"})
_NOTHING: Any = object()


def map_reduce(
    calls: Calls,
    function: Function[..., Any],
    iterables: tuple[Iterable[Any], ...],
    options: dict[str, Any],
) -> Any:
    """`functools.reduce(reduce, map(function, *iterables), initial)`, on the workers.

    Time-outs and retries are those of a chunk of items here, not of a single item.
    """
    mine, others = split_options(options, REDUCE_WORDS)
    reduce = mine.get("reduce")
    if not callable(reduce):
        raise TypeError("map_reduce() needs reduce=, a function of two values")
    function = function.options(**cast("CallOptions", others)) if others else function
    source = zipped(iterables, dict(mine.get("kwargs") or {})).after(function.bound)
    reduction = Reduction(calls, function, reduce, mine.get("initial", _NOTHING))
    size = mine.get("chunk_size")
    fixed = None if size is None else units.whole(size, field="chunk_size", least=1)
    return reduction.run(source, fixed, progress_for(function.name, mine.get("progress")))


class Reduction:
    """One `map_reduce` under way."""

    def __init__(
        self, calls: Calls, function: Function[..., Any], reduce: Callable[..., Any], initial: Any
    ) -> None:
        self._calls = calls
        self._reduce = reduce
        self._initial = initial
        self._name = function.name
        self.session = calls.session
        self.number = self.session.new_group("map_reduce", function.name)
        options = function.call_options
        self._chunks = self._route(composed(MapReduced, function.function, reduce), options)
        self._folds = self._route(composed(Folded, reduce), options)
        self._levels: list[list[CallFuture[Any]]] = []
        self._changed = threading.Condition()
        self._unfinished: set[CallFuture[Any]] = set()
        self.done = 0

    @property
    def id(self) -> str:
        """The group's id."""
        return ids.group_id(self.session.name, self.number)

    def _route(self, function: Callable[..., Any], options: CallOptions) -> Route:
        return self._calls.new_route(Function(function, options), self.number)

    def run(self, source: Source, size: int | None, progress: Progress) -> Any:
        """Send everything, then wait for the one value."""
        route, total = self._chunks, source.total
        self._form = source.form
        self._sizes = ChunkSizes(route.workers, total=total, item_s=route.item_s, fixed=size)
        self._window = Window(4 * route.workers, is_sized=total is not None)
        feed = Feed(source, self, self._sizes, self._window)
        try:
            with attended(f"The reduction of {self._name}", self.id, self.cancel):
                while not feed.is_exhausted:
                    feed.pump(may_wait=True)
                    progress.update(self.done, 0, total)
                    self._wait(feed)
                if feed.error is not None:
                    self.cancel()
                    raise feed.error
                return self._last(progress, total)
        finally:
            progress.close()

    def _wait(self, feed: Feed) -> None:
        with self._changed:
            if feed.is_exhausted or self._window.is_open(settled=self._sizes.settled):
                return
            if not self._changed.wait(LOOK_AGAIN_S):
                self._window.widen()

    def _last(self, progress: Progress, total: int | None) -> Any:
        future = self._total()
        self.session.seal(self.number)
        if future is None:
            if self._initial is _NOTHING:
                raise TypeError("reduce() of empty iterable with no initial value")
            return self._initial
        while not future.is_over:
            progress.update(self.done, 0, total)
            future.await_over(LOOK_AGAIN_S)
        return future.result()

    # ---- sending (`feed.Outlet`)

    def send(self, own: list[Any]) -> None:
        """One chunk: one call, one value."""
        with self._changed:
            sent = Sent(len(own), self._window.items, time.monotonic())
            self._window.sent(len(own))
        future = send_call(self._chunks, (Items(self._form, own).packed(),), {})
        self._unfinished.add(future)
        future.add_done_callback(lambda _: self._finished(future, sent))
        self._push(0, future)

    def has_room(self) -> bool:
        """The caller's thread waits where there is none."""
        return True

    def exhausted(self) -> None:
        """The tree is finished by `_total`."""

    def _finished(self, future: CallFuture[Any], sent: Sent) -> None:
        with self._changed:
            self._unfinished.discard(future)
            self.done += sent.items
            self._sizes.measured(sent, time.monotonic())
            self._window.received(sent.items, 0)
            self._window.read(sent.items, 0)
            self._window.finished()
            self._changed.notify_all()

    # ---- the tree

    def _push(self, level: int, future: CallFuture[Any]) -> None:
        """Add a value; a full level is folded into one of the next."""
        if level == len(self._levels):
            self._levels.append([])
        values = self._levels[level]
        values.append(future)
        if len(values) == FAN_IN:
            self._levels[level] = []
            self._push(level + 1, send_call(self._folds, (values,), {}))

    def _total(self) -> CallFuture[Any] | None:
        """The call that folds what is left, in the order of the items; None without items."""
        left = [future for level in reversed(self._levels) for future in level]
        if not left:
            return None
        if self._initial is _NOTHING:
            return left[0] if len(left) == 1 else send_call(self._folds, (left,), {})
        return send_call(self._folds, ([self._initial, *left],), {})

    def cancel(self) -> None:
        """Let nothing of it go on."""
        for future in list(self._unfinished):
            future.cancel()
        self.session.seal(self.number)
