"""A chunk of a map in a process worker: its items in strides, each a tight loop.

An item fails, times out and is cancelled by itself. Results are packed together as far as they are
there when it is time to send them.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, TypeAlias

from gridloom.items import ARGUMENTS, CALL, VALUE, opened
from gridloom.payload import Encoded
from gridloom.worker.answers import CANCELLED, ERROR, FLUSH_NS, OK
from gridloom.worker.failures import call_error, not_begun
from gridloom.worker.progress import (
    CAPTURING,
    DEADLINE,
    PLACE,
    encode_place,
    now_ns,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gridloom.items import Items
    from gridloom.worker.batch import BatchRun
    from gridloom.worker.bench import Bench
    from gridloom.worker.plan import RunPlan

Keep: TypeAlias = "Callable[[Any], None]"

# A stride is about this long: between strides the worker looks at the clock.
_STRIDE_NS = 1_000_000
_LONGEST_STRIDE = 4096


# The loops of a stride: each keeps a result an item, and says in the slot which item it is at. The
# list of items may be cut short meanwhile, by what a signal brings.


def _values(
    function: Callable[..., Any], own: Iterable[Any], keep: Keep, slot: memoryview, place: int
) -> None:
    for value in own:
        slot[PLACE] = place
        keep(function(value))
        place += 1


def _arguments(
    function: Callable[..., Any], own: Iterable[Any], keep: Keep, slot: memoryview, place: int
) -> None:
    for args in own:
        slot[PLACE] = place
        keep(function(*args))
        place += 1


def _calls(
    function: Callable[..., Any], own: Iterable[Any], keep: Keep, slot: memoryview, place: int
) -> None:
    for args, kwargs in own:
        slot[PLACE] = place
        keep(function(*args, **kwargs))
        place += 1


_LOOPS = {VALUE: _values, ARGUMENTS: _arguments, CALL: _calls}


class ChunkRun:
    """Runs the items of one unit."""

    def __init__(
        self, batch: BatchRun, bench: Bench, plan: RunPlan, unit: int, position: int
    ) -> None:
        self._batch = batch
        self._bench = bench
        self._plan = plan
        self._unit = unit
        self._position = position
        self.is_open = False
        # Values that are not packed yet, and the item of the first of them.
        self._values: list[Any] = []
        self._first = 0
        # The items of the present stride. Cut short when the plan changes.
        self._stride: list[Any] = []
        self._stride_first = 0
        self._stride_size = 1

    def run(self, items: tuple[int, int]) -> None:
        """Run these items of the chunk: the first and how many."""
        first, count = items
        found = self._open(first, count)
        if found is None:
            return
        self.is_open = True
        self._callee, chunk = found
        self._loop = _LOOPS[chunk.form.kind]
        self._first, end = first, first + count
        self._bench.attention.unfinished_place = lambda: self._place_of(self._next_item)
        while (item := self._next_item) < end:
            upto = self._next_cancelled(item, end)
            if upto == item:
                self._skip(item)
            else:
                self._run_stride(chunk, item, upto)
        self.pack()

    def _next_cancelled(self, item: int, end: int) -> int:
        """The first item from `item` on that is not to be begun, or `end`."""
        ranges = self._batch.cancelled_items(self._unit)
        starts = (max(each.start, item) for each in ranges if each.stop > item)
        return min([end, *starts])

    @property
    def _next_item(self) -> int:
        return self._first + len(self._values)

    def _open(self, first: int, count: int) -> tuple[Callable[..., Any], Items] | None:
        """What is called with each item, and all items; None: that failed, and was answered."""
        attention, plan = self._bench.attention, self._plan
        self._bench.slot[PLACE] = encode_place(self._unit, first)
        attention.in_user_code = True
        try:
            if attention.wanted:
                attention.look()
            function = plan.function()
            packed = self._bench.codec.decode(
                plan.arguments[self._position], plan.resolver(self._position)
            )
            chunk = opened(packed)
            attention.in_user_code = False
        except BaseException as error:  # noqa: BLE001  # opening values runs user code
            attention.in_user_code = False
            self._answer_all(first, count, error)
            return None
        return chunk.callee(function), chunk

    def _answer_all(self, first: int, count: int, error: BaseException) -> None:
        status, failure = self._batch.failure(self._plan, self._bench.slot[PLACE], error)
        for item in range(first, first + count):
            self._add(item, 1, status, Encoded(failure.SerializeToString()))
        self._batch.leave_place(self._unit, first)

    def _skip(self, item: int) -> None:
        self.pack()
        self._add(item, 1, CANCELLED, Encoded(not_begun().SerializeToString()))
        self._first = item + 1

    def _run_stride(self, chunk: Items, item: int, end: int) -> None:
        """Some items; after them, or after one that failed, what is due."""
        one_by_one = self._plan.isolated or self._bench.header[CAPTURING]
        size = 1 if one_by_one else self._stride_size
        self._stride, self._stride_first = chunk.own[item : min(item + size, end)], item
        began = now_ns()
        error = self._run_items(item)
        self._bench.end_forked_child()
        if error is not None:
            self._answer_failed(error)
        self._batch.leave_place(self._unit, item)
        self._pace(now_ns() - began)
        if one_by_one or now_ns() - self._batch.answers.flushed_at_ns > FLUSH_NS:
            self._batch.progress()

    def _run_items(self, item: int) -> BaseException | None:
        attention = self._bench.attention
        place = self._bench.slot[PLACE] = encode_place(self._unit, item)
        if self._plan.timeout_ns:
            self._batch.arm(self._plan.timeout_ns)
        attention.in_user_code = True
        try:
            if attention.wanted:
                attention.look()
            own = self._with_deadlines() if self._plan.timeout_ns else self._stride
            self._loop(self._callee, own, self._values.append, self._bench.slot, place)
            attention.in_user_code = False
        except BaseException as error:  # noqa: BLE001  # whatever user code raises is its result
            attention.in_user_code = False
            return error
        return None

    def _with_deadlines(self) -> Iterator[Any]:
        slot, timeout_ns = self._bench.slot, self._plan.timeout_ns
        for own in self._stride:
            slot[DEADLINE] = now_ns() + timeout_ns
            yield own

    # ---- what became of them

    def _answer_failed(self, error: BaseException) -> None:
        """Answer for the item that raised this, and for those before it."""
        item = self._next_item
        place = self._bench.slot[PLACE] = self._place_of(item)
        self.pack()
        status, failure = self._batch.failure(self._plan, place, error)
        self._add(item, 1, status, Encoded(failure.SerializeToString()))
        self._first = item + 1

    def _place_of(self, item: int) -> int:
        return encode_place(self._unit, item)

    def pack(self) -> None:
        """Hand the values over that are there, but not those of items that were told to stop."""
        values = self._values[:]
        if not values:
            return
        first = self._first
        del self._values[: len(values)]
        self._first += len(values)
        with self._within(first):
            start = 0
            for position in self._interrupted_among(first, len(values)):
                self._add_values(first + start, values[start:position])
                place = self._place_of(first + position)
                status, failure = self._batch.failure(self._plan, place, None)
                self._add(first + position, 1, status, Encoded(failure.SerializeToString()))
                start = position + 1
            self._add_values(first + start, values[start:])

    def _interrupted_among(self, first: int, count: int) -> list[int]:
        """Which of some items went on when they were told to stop: their positions, in order."""
        start = self._place_of(first)
        positions = (place - start for place in self._bench.attention.interrupted)
        return sorted(position for position in positions if 0 <= position < count)

    def _add_values(self, first: int, values: list[Any]) -> None:
        """As one envelope if that can be."""
        if not values:
            return
        status, encoded = self._packed(values)
        if status == OK or len(values) == 1:
            self._add(first, len(values), status, encoded)
            return
        for item, value in enumerate(values, first):  # one of them is at fault
            self._add(item, 1, *self._packed([value]))

    def _packed(self, values: list[Any]) -> tuple[int, Encoded]:
        try:
            return OK, self._bench.codec.encode_values(values, durable=self._plan.durable)
        except Exception as error:  # noqa: BLE001  # pickling runs user code; this is its result
            return ERROR, Encoded(call_error(error).SerializeToString())

    def _add(self, first: int, count: int, status: int, encoded: Encoded) -> None:
        items = (first, count)
        self._batch.answers.add_items(self._unit, items, status, encoded.data, encoded.objects)

    @contextlib.contextmanager
    def _within(self, item: int) -> Iterator[None]:
        """Pickling runs user code: the place says so, if no other one does."""
        slot = self._bench.slot
        if slot[PLACE]:
            yield
            return
        slot[PLACE] = encode_place(self._unit, item)
        yield
        slot[PLACE] = 0

    def _pace(self, took_ns: int) -> None:
        """Choose the next stride by how long this one took."""
        if took_ns < _STRIDE_NS // 2:
            self._stride_size = min(2 * self._stride_size, _LONGEST_STRIDE)
        elif took_ns > 2 * _STRIDE_NS:
            self._stride_size = max(self._stride_size * _STRIDE_NS // took_ns, 1)

    def replan(self) -> None:
        """Something was cancelled, or nothing more is wanted: end the stride with this item."""
        del self._stride[self._next_item + 1 - self._stride_first :]
