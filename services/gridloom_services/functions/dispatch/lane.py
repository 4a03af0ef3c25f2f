"""A lane: what one session has waiting under one specification."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from gridloom.values import dataclass

from gridloom_services.functions.dispatch.spill import Spill

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gridloom_services.functions.call import Attempts, CallSpec, Function, Status
    from gridloom_services.functions.dispatch.block import Block, Span
    from gridloom_services.functions.dispatch.estimate import Estimate


@dataclass(frozen=True, slots=True)
class Recall:
    """A call that waits outside memory and is read from the store when its turn has come.

    It waited for other calls, or for a back-off to pass. `start` and `stop` are positions of the
    block that the store holds under `block_id`; `sequence` is the call's (`chunked`: its items are
    the positions). With an `ending` it is not run but ended so.
    """

    block_id: int
    start: int
    stop: int
    attempts: Attempts
    sequence: int
    chunked: bool
    isolated: bool = False
    ending: Ending | None = None

    def overlap(self, first: int, count: int, items: tuple[int, int] | None) -> tuple[int, int]:
        """Its positions that belong to some calls, or to some items of a chunk."""
        if not first <= self.sequence < first + count:
            return 0, 0
        if items is None or not self.chunked:
            return self.start, self.stop
        return max(self.start, items[0]), min(self.stop, items[1])


@dataclass(frozen=True, slots=True)
class Ending:
    """How calls end that are not run: a status, and the value that says why."""

    status: Status
    value: bytes


class Lane:
    """Waiting work of one session under one specification, in order, and what of it runs.

    `ahead` goes first: what was with a worker that died, retries, and calls that waited. A lane's
    turns come in its pool; a session's lanes take turns with each other.
    """

    __slots__ = (
        "ahead",
        "backlog",
        "estimate",
        "function",
        "held_bytes",
        "held_calls",
        "in_turn",
        "locked",
        "queue",
        "recalling",
        "recalls",
        "running",
        "session",
        "session_name",
        "spec",
        "spill",
        "waiting",
    )

    def __init__(
        self,
        session: int,
        session_name: str,
        spec: CallSpec,
        estimate: Estimate,
        function: Function | None = None,
    ) -> None:
        self.session = session
        self.session_name = session_name
        self.spec = spec
        self.estimate = estimate
        self.function = function
        """None while its code is not here: nothing of the lane is sent to a worker."""
        self.ahead: deque[Span] = deque()
        self.queue: deque[Span] = deque()
        self.backlog = 0
        """Positions in `ahead` and `queue`."""
        self.recalls: deque[Recall] = deque()
        self.recalling = 0
        """Recalls that are being read."""
        self.running = 0
        """Positions that workers hold."""
        self.waiting = 0
        """Calls that wait for others or for a back-off."""
        self.held_calls = 0
        self.held_bytes = 0
        """Of the blocks in memory: the window."""
        self.spill = Spill()
        self.in_turn = False
        """Its pool gives it turns."""
        self.locked = False
        """What is on disk is being withdrawn: it must not be read into memory now."""

    @property
    def demand(self) -> int:
        """Positions that could run if there were workers."""
        return self.backlog + len(self.recalls) + self.recalling + self.spill.positions

    @property
    def idle(self) -> bool:
        """Nothing unfinished is known of it."""
        return not (self.demand or self.running or self.waiting or self.held_calls)

    @property
    def room(self) -> int | None:
        """Positions that may begin now; None: any number."""
        if not self.spec.max_parallel:
            return None
        return max(self.spec.max_parallel - self.running, 0)

    @property
    def dispatchable(self) -> bool:
        """Whether its next span could be sent to a worker that is free."""
        return bool(self.ahead or self.queue) and self.function is not None and self.room != 0

    @property
    def next_isolated(self) -> bool:
        """Whether what comes next must run alone."""
        return bool(self.ahead) and self.ahead[0].isolated

    def hold(self, block: Block) -> None:
        """Count a block as in memory."""
        self.held_calls += block.calls
        self.held_bytes += block.bytes

    def release(self, block: Block) -> None:
        """A block has left memory."""
        self.held_calls -= block.calls
        self.held_bytes -= block.bytes

    def append(self, span: Span) -> None:
        """Put new work at the end."""
        self.backlog += span.size
        self.queue.append(span)

    def push(self, spans: Iterable[Span]) -> None:
        """Put work at the head, in the order given; parts of one block are joined again."""
        for span in reversed(list(spans)):
            self.backlog += span.size
            if not (self.ahead and self.ahead[0].join(span)):
                self.ahead.appendleft(span)

    def enqueue_ahead(self, span: Span) -> None:
        """Put one piece of work behind what is ahead already, before everything new."""
        self.ahead.append(span)
        self.backlog += span.size

    def take(self, budget: int) -> list[Span]:
        """The next spans, about `budget` positions in all, at least one call or part of a chunk.

        A chunk is cut only where `max_parallel` leaves no room for all of it; something isolated
        comes alone.
        """
        room = self.room
        budget = budget if room is None else min(budget, room)
        taken: list[Span] = []
        total = 0
        while (self.ahead or self.queue) and (total < budget or not taken):
            if taken and (self.next_isolated or self._next_chunk_exceeds(budget - total)):
                break
            span = self._take_one(budget - total, room)
            taken.append(span)
            total += span.size
            if span.isolated:
                break
        self.backlog -= total
        return taken

    def _next_chunk_exceeds(self, budget: int) -> bool:
        """Whether the next span is a chunk that goes beyond what is asked."""
        span = self.ahead[0] if self.ahead else self.queue[0]
        return bool(span.block.items) and span.size > budget

    def _take_one(self, budget: int, room: int | None) -> Span:
        """The first span, or as much of it as is wanted."""
        source = self.ahead or self.queue
        span = source[0]
        wanted = max(budget, 1)
        if span.block.items:
            wanted = span.size if room is None else min(span.size, wanted)
        if span.size <= wanted:
            return source.popleft()
        return span.take(wanted)

    def withdraw(self, first: int, count: int, items: tuple[int, int] | None) -> list[Span]:
        """Take out what waits here of `count` calls from `first` on (of a chunk: `items`)."""
        taken: list[Span] = []
        for source in (self.ahead, self.queue):
            kept: deque[Span] = deque()
            for span in source:
                start, stop = within(span, first, count, items)
                if start >= stop:
                    kept.append(span)
                    continue
                taken.append(span.part(start, stop))
                kept.extend(span.without(start, stop))
            source.clear()
            source.extend(kept)
        self.backlog -= sum(span.size for span in taken)
        return taken


def within(span: Span, first: int, count: int, items: tuple[int, int] | None) -> tuple[int, int]:
    """Positions of a span that belong to some calls, or to some items of a chunk."""
    start, stop = span.block.positions(first, count)
    if items is not None and span.block.items:
        start, stop = max(start, items[0]), min(stop, items[1])
    return max(start, span.start), min(stop, span.stop)
