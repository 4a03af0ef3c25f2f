"""Dispatch: which calls go to which worker, and what becomes of them. No clock, no I/O.

Events come in by method, with the time where it matters; what is decided goes to the `Sink`, and
batches to be sent come out of `pump`. A position (a call, or an item of a chunk) is finished once,
whatever workers answer, and is with one worker at a time.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from gridloom.values import dataclass

from gridloom_services.functions.call import Status
from gridloom_services.functions.dispatch.lane import within
from gridloom_services.functions.dispatch.lease import Lease

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gridloom_services.functions.dispatch.block import Span
    from gridloom_services.functions.dispatch.held import Held
    from gridloom_services.functions.dispatch.lane import Lane
    from gridloom_services.functions.dispatch.lease import Piece
    from gridloom_services.functions.dispatch.outcome import Outcomes
    from gridloom_services.functions.dispatch.pool import PoolQueue
    from gridloom_services.functions.dispatch.worker import Death, Worker

_MISSES = 32
"""Lanes looked at in vain before a pump gives up until the next event."""

_FIRST, _ALL = 0, 1 << 62


@dataclass(frozen=True, slots=True)
class Interruption:
    """A worker is to drop a unit, or some items (first, count) of it."""

    worker_id: str
    batch: int
    unit: int
    items: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class ItemsAnswer:
    """One result for some items of the chunk in a unit."""

    unit: int
    first: int
    count: int
    status: int
    value: bytes


class Dispatcher:
    """Workers, their leases, and the answers."""

    def __init__(self, held: Held, outcomes: Outcomes) -> None:
        self.held = held
        self.outcomes = outcomes
        self.workers: dict[str, Worker] = {}
        self.stale_answers = 0
        self._numbers = count(1)

    def pump(self, pool: PoolQueue, now: float) -> list[Lease]:
        """Give the pool's workers what they should have. The leases are to be sent, in order."""
        leases: list[Lease] = []
        passed_over: list[Lane] = []
        pool.release_reserved()
        pool.begin_turns(now)
        while pool.open_to_more and len(passed_over) <= _MISSES:
            lane = pool.next()
            if lane is None:
                break
            choice = pool.pick(lane)
            if choice is None:
                pool.leave(lane)
                passed_over.append(lane)
            else:
                pool.served(lane, now)
                leases.append(self._lease(lane, *choice, now))
        pool.passed_over(passed_over)
        return leases

    def _lease(self, lane: Lane, worker: Worker, budget: int, now: float) -> Lease:
        lease = Lease(next(self._numbers), worker.id, lane, lane.take(budget))
        lease.item_us = lane.estimate.item_us or 0.0
        lane.running += lease.positions
        worker.give(lease, now)
        return lease

    # Workers come and go.

    def join(self, worker: Worker) -> None:
        """A worker is ready for calls."""
        self.workers[worker.id] = worker
        pool = self.held.pool(worker.pool_id)
        pool.workers[worker.id] = worker
        self.held.dirty.add(pool)

    def leave(self, worker_id: str, death: Death | None, now: float) -> None:
        """A worker's connection is over. What it had not answered goes to the head of its lane.

        `death` is what its host says; None when nobody knows: then the oldest call without an
        answer is taken to be the one it was in.
        """
        worker = self.workers.pop(worker_id, None)
        if worker is None:
            return
        del self.held.pool(worker.pool_id).workers[worker_id]
        leases = [worker.leases[number] for number in sorted(worker.leases)]
        for lease in reversed(leases):
            lease.lane.running -= lease.positions
            if lease.lane.spec.at_most_once:
                self._end_begun(lease, death, now)
            else:
                guilty = _guilty(lease, death, first=lease is leases[0])
                self._give_back(lease, guilty, _suspects(lease, death), now, death)

    def _give_back(
        self,
        lease: Lease,
        guilty: Span | None,
        suspects: list[Span],
        now: float,
        death: Death | None = None,
    ) -> None:
        """Positions without an answer wait again, but for the one that the worker died in.

        That one, and what other slots had begun, runs alone.
        """
        alone = [*suspects, guilty] if guilty is not None else suspects
        rest = [piece.span for piece in lease.open]
        for span in alone:
            rest = [part for whole in rest for part in _without(whole, span)]
        if rest:
            self.outcomes.requeue(rest)
        for span in suspects:
            self.outcomes.requeue([replace(span, isolated=True)])
        if guilty is not None and not self._was_cancelled(guilty):
            self.outcomes.died(guilty, death, now)

    def _end_begun(self, lease: Lease, death: Death | None, now: float) -> None:
        """At-most-once: all that may have begun ends; of a chunk, what comes after it is run."""
        if not lease.is_sent or (death is not None and not death.busy):
            self._give_back(lease, None, [], now)
            return
        guilty = _guilty(lease, death, first=False)
        for piece in lease.open:
            span = piece.span
            begun_until = span.stop
            if guilty is not None and guilty.block is span.block and span.block.items:
                begun_until = min(max(guilty.stop, span.start), span.stop)
            for position in range(span.start, begun_until):
                self.outcomes.died(span.part(position, position + 1), death, now)
            if begun_until < span.stop:
                self.outcomes.requeue([span.part(begun_until, span.stop)])

    def _was_cancelled(self, span: Span) -> bool:
        """End one position as cancelled if somebody asked for that; else False."""
        cancelled = span.block.cancelled
        if cancelled is None or span.start not in cancelled:
            return False
        self.outcomes.cancel(span)
        return True

    # Answers.

    def answer(
        self,
        place: tuple[str, int, int],
        statuses: bytes,
        values: Sequence[bytes],
        now: float,
    ) -> None:
        """Results, one a unit, from a place on: worker, batch, unit."""
        worker_id, batch, unit = place
        lease = self._answering(worker_id, batch, now)
        if lease is None:
            return
        units = lease.left_units
        if lease.asked_back:
            statuses = _given_back(lease, unit, statuses)
        settled = lease.settle(unit, len(statuses))
        self._settled(lease, units, sum(answered.span.size for answered in settled))
        for answered in settled:
            first, last = answered.value, answered.value + answered.span.units
            self.outcomes.take_results(answered.span, statuses[first:last], values[first:last], now)

    def answer_items(self, worker_id: str, batch: int, answer: ItemsAnswer, now: float) -> None:
        """The result of some items of a chunk."""
        lease = self._answering(worker_id, batch, now)
        if lease is None:
            return
        units = lease.left_units
        settled = lease.settle_items(answer.unit, answer.first, answer.count)
        self._settled(lease, units, sum(span.size for span in settled))
        status = answer.status
        if status == Status.CANCELLED and lease.was_asked_back(answer.unit, answer.first):
            status = Status.GIVEN_BACK
        for span in settled:
            self.outcomes.take_results(span, bytes((status,)), (answer.value,), now)

    def measured(self, worker_id: str, batch: int, items: int, elapsed_us: int) -> None:
        """How long the items just answered took."""
        worker = self.workers.get(worker_id)
        lease = worker.leases.get(batch) if worker else None
        if lease is not None:
            lease.lane.estimate.observe(items, elapsed_us)

    def batch_done(self, worker_id: str, batch: int, now: float) -> None:
        """The worker has nothing left of a lease. What it never answered for is run again."""
        worker = self.workers.get(worker_id)
        lease = worker.leases.get(batch) if worker else None
        if worker is None or lease is None:
            return
        worker.drop(lease, now)
        self.held.dirty.add(self.held.pool(worker.pool_id))
        if lease.open:
            lease.lane.running -= lease.positions
            self._give_back(lease, lease.oldest(), [], now)

    def _answering(self, worker_id: str, batch: int, now: float) -> Lease | None:
        """The lease that an answer is for; None when it comes too late."""
        worker = self.workers.get(worker_id)
        lease = worker.leases.get(batch) if worker else None
        if worker is None or lease is None:
            self.stale_answers += 1
            return None
        worker.progress_at = now
        return lease

    def _settled(self, lease: Lease, units_before: int, positions: int) -> None:
        """Account for positions that are no longer with the worker."""
        lane = lease.lane
        lane.running -= positions
        worker = self.workers[lease.worker_id]
        worker.settled(lease, units_before - lease.left_units, positions)
        self.held.dirty.add(self.held.pool(worker.pool_id))
        if lane.spec.max_parallel:
            self.held.enter(lane)

    # Calls that wait inside for others.

    def slot_blocked(self, worker_id: str, batch: int, unit: int) -> None:
        """A call waits for others. A worker of one slot gives back what stands behind it."""
        worker = self.workers.get(worker_id)
        if worker is not None and batch in worker.leases:
            worker.blocked.add((batch, unit))

    def slot_resumed(self, worker_id: str, batch: int, unit: int) -> None:
        """It goes on."""
        worker = self.workers.get(worker_id)
        if worker is not None:
            worker.blocked.discard((batch, unit))
            self.held.dirty.add(self.held.pool(worker.pool_id))

    # Cancelling.

    def cancel(
        self, lane: Lane, first: int, size: int, items: tuple[int, int] | None = None
    ) -> tuple[int, list[Interruption]]:
        """Cancel what memory holds of some calls of a lane (of a chunk: positions of `items`).

        What waits ends now. What a worker holds ends when the worker answers or dies, and is not
        repeated: the notices ask the workers to drop it. Returns how many positions this reaches,
        too.
        """
        reached = 0
        for span in lane.withdraw(first, size, items):
            reached += span.size
            self.outcomes.cancel(span)
        notices: list[Interruption] = []
        for lease in self._leases_of(lane):
            for piece in lease.open:
                start, stop = within(piece.span, first, size, items)
                if start < stop:
                    reached += stop - start
                    piece.span.block.cancel(start, stop)
                    notices += _notices(lease, piece, piece.span.part(start, stop))
        return reached, notices

    def cancel_all(self, lane: Lane) -> list[Interruption]:
        """Cancel everything of a lane that memory holds."""
        return self.cancel(lane, _FIRST, _ALL)[1]

    def _leases_of(self, lane: Lane) -> list[Lease]:
        """What workers hold of a lane."""
        if not lane.running:
            return []
        workers = self.held.pool(lane.spec.pool_id).workers.values()
        return [
            lease for worker in workers for lease in worker.leases.values() if lease.lane is lane
        ]


def _given_back(lease: Lease, unit: int, statuses: bytes) -> bytes:
    """What was dropped because it was asked back is no cancelled call."""
    return bytes(
        Status.GIVEN_BACK
        if status == Status.CANCELLED and lease.was_asked_back(unit + index)
        else status
        for index, status in enumerate(statuses)
    )


def _guilty(lease: Lease, death: Death | None, *, first: bool) -> Span | None:
    """The position of a lease that its dead worker was in, if any."""
    if death is None:
        return lease.oldest() if first else None
    if not death.busy or death.batch != lease.number:
        return None
    return lease.begun(death.unit, death.item)


def _suspects(lease: Lease, death: Death | None) -> list[Span]:
    """What else of a lease a dead worker with several slots was in."""
    if death is None:
        return []
    places = [(unit, item) for batch, unit, item in death.others if batch == lease.number]
    spans = [lease.begun(unit, item) for unit, item in places]
    return [span for span in spans if span is not None]


def _without(span: Span, other: Span) -> list[Span]:
    """What remains of a span when another one is taken out."""
    if span.block is not other.block:
        return [span]
    return list(span.without(other.start, other.stop))


def _notices(lease: Lease, piece: Piece, span: Span) -> list[Interruption]:
    """What to tell a worker so that it drops a part of a piece."""
    if span.block.items:
        return [Interruption(lease.worker_id, lease.number, piece.unit, (span.start, span.size))]
    unit = piece.unit + span.start - piece.span.start
    return [Interruption(lease.worker_id, lease.number, unit + index) for index in range(span.size)]
