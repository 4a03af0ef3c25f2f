"""One item in a worker that runs several at once: a call, or an item of a chunk."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from gridloom.items import opened
from gridloom.payload import Encoded
from gridloom.worker import context
from gridloom.worker.answers import CANCELLED, ERROR, OK, TIMEOUT
from gridloom.worker.failures import call_error, stopped, too_late
from gridloom.worker.progress import BATCH, BLOCKED, DEADLINE, PLACE, encode_place, now_ns
from gridloom.worker.routed import OutputReader, capture_into

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom.api.functions.v1.call_pb2 import CallError
    from gridloom.items import Call, Items
    from gridloom.worker.context import CurrentCall
    from gridloom.worker.plan import RunPlan


class Outcome(NamedTuple):
    """What an item has come to: a status and an envelope, or a `CallError`."""

    status: int
    encoded: Encoded


def failed(status: int, error: CallError) -> Outcome:
    """The outcome of an item that has no value."""
    return Outcome(status, Encoded(error.SerializeToString()))


class Unit:
    """A unit of a batch: its items, which of them are still to be begun, and which to be answered.

    A plain call is one item. Of a chunk the arguments are opened once, by whoever comes first.
    """

    def __init__(self, batch: int, plan: RunPlan, number: int, position: int) -> None:
        self.batch = batch
        self.plan = plan
        self.number = number
        self.position = position
        self.is_chunk = bool(plan.ranges)
        first, count = plan.ranges[position] if plan.ranges else (0, 1)
        self._next, self._end = first, first + count
        self.unanswered = set(range(first, first + count))
        self.chunk: Items | None = None

    def take(self) -> int | None:
        """The next item to begin; None: there is no more. What was answered already is left out."""
        while self._next < self._end:
            item = self._next
            self._next += 1
            if item in self.unanswered:
                return item
        return None

    def arguments(self, item: int) -> Call:
        """An item's arguments. Raises whatever opening them raises."""
        plan = self.plan
        codec, envelope = plan.codec, plan.arguments[self.position]
        if not self.is_chunk:
            call: Call = codec.decode(envelope, plan.resolver(self.position))
            return call
        if self.chunk is None:
            self.chunk = opened(codec.decode(envelope, plan.resolver(self.position)))
        return self.chunk.call(item)

    def encode(self, value: Any) -> Encoded:
        """A value as the answer for one item."""
        codec, durable = self.plan.codec, self.plan.durable
        if self.is_chunk:
            return codec.encode_values([value], durable=durable)
        return codec.encode_value(value, durable=durable)


class Job:
    """An item that runs: in a slot, by a thread or a task.

    `finished` and `abandoned` exclude each other, which `lock` sees to: whoever is first decides
    what is answered for the item.
    """

    def __init__(self, unit: Unit, item: int, slot: memoryview, hooks: Hooks) -> None:
        self.unit = unit
        self.item = item
        self.slot = slot
        self._hooks = hooks
        self.lock = threading.Lock()
        self.finished = False
        self.abandoned = False
        self.begun_ns = now_ns()
        self.deadline_ns = 0
        # The thread's number or the task that runs it.
        self.runner: Any = None
        self._blocked = 0
        self._output: OutputReader | None = None

    def begin(self) -> None:
        """Say in the board and in the context which item runs here."""
        self.slot[BATCH] = self.unit.batch
        self.slot[PLACE] = encode_place(self.unit.number, self.item)
        context.enter(self)
        self._output = None
        if self.unit.plan.capture:
            self._output = OutputReader(lambda stream, data: self._hooks.print(self, stream, data))
        capture_into(self._output)

    def arm(self) -> None:
        """From now on the item's time runs."""
        if self.unit.plan.timeout_ns:
            self.deadline_ns = now_ns() + self.unit.plan.timeout_ns
            self.slot[DEADLINE] = self.deadline_ns
            self._hooks.arm(self)

    def succeeded(self, value: Any) -> Outcome:
        """The outcome of an item that has returned a value."""
        try:
            return Outcome(OK, self.unit.encode(value))
        except Exception as error:  # noqa: BLE001  # pickling runs user code; this is its result
            return self.raised(error)

    @staticmethod
    def raised(error: BaseException) -> Outcome:
        """The outcome of an item that has raised."""
        return failed(ERROR, call_error(error))

    def timed_out(self) -> Outcome:
        """The outcome of an item whose time is up."""
        plan = self.unit.plan
        return failed(TIMEOUT, too_late(plan.name, plan.timeout_ns))

    @staticmethod
    def cancelled() -> Outcome:
        """The outcome of an item that was cancelled while it ran."""
        return failed(CANCELLED, stopped())

    def clear(self) -> None:
        """The item is answered: its slot is free."""
        self.slot[PLACE] = 0
        self.slot[DEADLINE] = 0
        self.slot[BLOCKED] = 0

    def close_output(self) -> None:
        """Nothing is printed any more."""
        if self._output is not None:
            self._output.close()
        capture_into(None)

    # ---- the scope of the call

    def call(self) -> CurrentCall:
        """Which call it is."""
        return self.unit.plan.call(self.unit.position, self.item)

    def set_blocked(self, *, blocked: bool) -> None:
        """Tell the service and the host that the call waits, or goes on."""
        self._blocked += 1 if blocked else -1
        if self._blocked == (1 if blocked else 0) and not self.abandoned:
            self.slot[BLOCKED] = blocked
            self._hooks.block(self, blocked)


class Hooks(NamedTuple):
    """What a running job tells its worker, from whatever thread it runs in."""

    print: Callable[[Job, int, bytes], None]
    arm: Callable[[Job], None]
    block: Callable[[Job, bool], None]
