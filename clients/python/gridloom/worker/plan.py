"""One run of units as it was sent, with its function at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from gridloom.worker.context import CurrentCall
from gridloom.worker.functions import run_to_end

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom.api.functions.v1 import worker_pb2
    from gridloom.payload import PayloadCodec
    from gridloom.worker.functions import Loaded
    from gridloom.worker.tools import Tools


class RunPlan:
    """A run of units that share a function and its options; units are counted by position."""

    def __init__(self, run: worker_pb2.UnitRun, tools: Tools) -> None:
        self._run = run
        self._tools = tools
        self.arguments = run.arguments
        self.size = len(run.arguments)
        self.timeout_ns = run.timeout_ms * 1_000_000
        self.capture = run.capture_output
        self.isolated = run.isolated
        self.durable = not run.not_durable
        self._digest = run.function_digest
        # Which items of a chunk each unit is: the first and how many; empty: plain calls.
        self.ranges = [(each.first, each.count) for each in run.ranges]
        self._inputs = {given.position: given.inputs for given in run.inputs}
        self._function: Callable[..., Any] | None = None

    @property
    def codec(self) -> PayloadCodec:
        """What opens arguments and packs values."""
        return self._tools.codec

    @property
    def name(self) -> str:
        """What users call the function."""
        return self._tools.functions.name(self._digest)

    def function(self) -> Callable[..., Any]:
        """The function, to be called in a thread without event loop.

        Raises what opening it raises, with a note.
        """
        if self._function is None:
            loaded = self.load()
            self._function = run_to_end(loaded.function) if loaded.is_coroutine else loaded.function
        return self._function

    def load(self) -> Loaded:
        """The function as it was sent. Raises what opening it raises, with a note."""
        try:
            return self._tools.functions.get(self._digest)
        except Exception as error:
            error.add_note(f"(the function {self.name} could not be opened on the worker)")
            raise

    def resolver(self, position: int) -> Callable[[int], Any] | None:
        """What gives the results that the unit waited for, by number; None: it waited for none."""
        if position not in self._inputs:
            return None
        inputs = self._inputs[position]
        return lambda number: self._tools.codec.decode_input(inputs[number])

    def call(self, position: int, item: int) -> CurrentCall:
        """Which call a unit of it is."""
        from gridloom import ids

        run, seat = self._run, self._tools.seat
        sequence = run.sequences[position] if position < len(run.sequences) else 0
        return CurrentCall(
            id=ids.call_id(run.session, sequence),
            item=item,
            attempt=run.attempt,
            function=self.name,
            pool_id=seat.pool.pool_id,
            worker_id=seat.worker_id,
        )


class Position(Protocol):
    """Knows which unit and item run now, and whom to tell that they wait."""

    def current(self) -> tuple[int, int]:
        """Unit and item."""
        ...

    def set_blocked(self, *, blocked: bool) -> None:
        """They wait for other calls, or go on."""
        ...


class CallScope:
    """The calls of a run as user code sees the one that it is in."""

    def __init__(self, position: Position, plan: RunPlan, first_unit: int) -> None:
        self._position = position
        self._plan = plan
        self._first_unit = first_unit

    def call(self) -> CurrentCall:
        """Which call it is."""
        unit, item = self._position.current()
        return self._plan.call(unit - self._first_unit, item)

    def set_blocked(self, *, blocked: bool) -> None:
        """Tell the service and the host that the call waits, or goes on."""
        self._position.set_blocked(blocked=blocked)
