"""What the tests of dispatch share: a dispatcher, a record of what it decided, short makers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gridloom_services.functions.call import CallSpec, Function, Retries, Status
from gridloom_services.functions.dispatch import (
    Block,
    Dispatcher,
    Held,
    ItemsAnswer,
    Lane,
    Outcomes,
    Recall,
    Worker,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gridloom_services.functions.call import Failure
    from gridloom_services.functions.dispatch import Lease, Span

POOL = "pool_a"
CODE = Function(b"f", "f", b"code")


def encoded(failure: Failure) -> bytes:
    return f"{failure.status.name}: {failure.message}".encode()


class Record:
    """The sink: every position's result, and every retry, by (session, sequence, item)."""

    def __init__(self) -> None:
        self.results: dict[tuple[int, int, int], tuple[Status, bytes]] = {}
        self.times: Counter[tuple[int, int, int]] = Counter()
        self.retries: list[tuple[Recall, float]] = []

    def finished(self, span: Span, statuses: bytes, values: Sequence[bytes]) -> None:
        block = span.block
        for index, position in enumerate(range(span.start, span.stop)):
            at = 0 if block.items else index
            place = (block.lane.session, block.sequence(position), block.item(position))
            self.results[place] = Status(statuses[at]), values[at]
            self.times[place] += 1

    def attempted(self, lane: Lane, recall: Recall, delay_s: float, error: bytes) -> None:
        self.retries.append((recall, delay_s))

    def statuses(self) -> dict[int, Status]:
        """By sequence number, of plain calls."""
        return {sequence: status for (_, sequence, _), (status, _) in self.results.items()}


class Rig:
    """A dispatcher with one pool."""

    def __init__(self) -> None:
        self.record = Record()
        self.held = Held()
        self.dispatcher = Dispatcher(self.held, Outcomes(self.held, self.record, encoded))
        self.now = 0.0
        self._next: Counter[int] = Counter()

    def lane(self, session: int = 1, *, item_us: float | None = None, **options: object) -> Lane:
        options.setdefault("retries", Retries())
        spec = CallSpec(1, b"f", POOL, **options)
        lane = Lane(session, f"s{session}", spec, self.held.estimate(bytes([session])), CODE)
        lane.estimate.item_us = item_us
        return lane

    def submit(self, lane: Lane, count: int = 1, *, items: int = 0) -> Block:
        first = self._next[lane.session] + 1
        self._next[lane.session] += 1 if items else count
        arguments = [b"a"] if items else [b"a%d" % n for n in range(first, first + count)]
        block = Block(lane, first, arguments, items=items)
        self.held.add(block)
        return block

    def worker(self, name: str = "w1", slots: int = 1) -> Worker:
        worker = Worker(name, POOL, "host", slots, self.now)
        self.dispatcher.join(worker)
        return worker

    def pump(self) -> list[Lease]:
        return self.dispatcher.pump(self.held.pool(POOL), self.now)

    def answer(
        self,
        lease: Lease,
        unit: int = 0,
        count: int = 1,
        status: Status = Status.OK,
        value: bytes = b"v",
    ) -> None:
        place = lease.worker_id, lease.number, unit
        self.dispatcher.answer(place, bytes([status]) * count, [value] * count, self.now)

    def answer_items(
        self,
        lease: Lease,
        first: int,
        count: int,
        status: Status = Status.OK,
        *,
        unit: int = 0,
        value: bytes = b"v",
    ) -> None:
        answer = ItemsAnswer(unit, first, count, status, value)
        self.dispatcher.answer_items(lease.worker_id, lease.number, answer, self.now)

    def finish(self, lease: Lease) -> None:
        """Answer all of a lease well."""
        for piece in list(lease.open):
            span = piece.span
            if span.block.items:
                self.answer_items(lease, span.start, span.size, unit=piece.unit)
            else:
                self.answer(lease, piece.unit, span.size)
        self.dispatcher.batch_done(lease.worker_id, lease.number, self.now)

    def drain(self, limit: int = 10_000) -> None:
        """Run everything that can run."""
        for _ in range(limit):
            leases = self.pump()
            if not leases:
                return
            for lease in leases:
                self.finish(lease)
        raise AssertionError("it never ends")

    def read_recalls(self, blocks: dict[int, Block]) -> None:
        """What the store would do for lanes that are hungry."""
        for lane in list(self.held.hungry):
            self.held.hungry.discard(lane)
            while lane.recalls:
                recall = lane.recalls.popleft()
                block = blocks[recall.block_id]
                if recall.ending is None:
                    self.held.add_recalled(block, recall)
                else:
                    self.dispatcher.outcomes.end_stored(
                        block, recall.start, recall.stop, recall.ending
                    )


def sequences(lease: Lease) -> list[int]:
    """Of the plain calls that a lease still holds."""
    return [
        piece.span.block.sequence(position)
        for piece in lease.open
        for position in range(piece.span.start, piece.span.stop)
    ]
