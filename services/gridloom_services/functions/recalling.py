"""What is read from the store with each commit: spilled and recalled calls, and who waits."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING

from gridloom.values import dataclass

from gridloom_services.functions import failures
from gridloom_services.functions.call import (
    Status,
    call_id,
    split_stored_id,
    stored_id,
)
from gridloom_services.functions.dispatch import Block, Ending, Recall
from gridloom_services.functions.dispatch.block import Span
from gridloom_services.functions.dispatch.lane import within
from gridloom_services.functions.store.rows import Reads, Refill

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom_services.functions.call import Failure
    from gridloom_services.functions.dependencies import Dependencies
    from gridloom_services.functions.dispatch import Held, Lane, Outcomes
    from gridloom_services.functions.ledger import Ledger
    from gridloom_services.functions.store.rows import BlockRow, Found, ResultRow, Upstream

WINDOW_CALLS = 4096
WINDOW_BYTES = 4 << 20
"""What memory holds of one lane. The rest of it is on disk only."""

MEMORY_BYTES = 256 << 20
"""Of the arguments of all lanes: beyond it, each lane has little more than what runs."""

_RECALLS = 64
"""Recalled calls that a lane has in memory or on the way."""


@dataclass(slots=True)
class Withdrawal:
    """Calls of a lane that are to end where they are: on disk, page by page."""

    lane: Lane
    ranges: list[tuple[int, int]]
    items: tuple[int, int] | None
    ending: Ending
    done: Callable[[int], None]
    ended: int = 0


@dataclass(slots=True)
class Asked:
    """What one commit was asked to read, in the order of its `Reads`."""

    lanes: list[Lane] = field(default_factory=list)
    withdrawals: list[Withdrawal] = field(default_factory=list)
    recalls: list[tuple[Lane, Recall]] = field(default_factory=list)
    refills: list[Refill] = field(default_factory=list)


class Recalling:
    """Asks the store for what memory should hold, and puts what is found where it belongs.

    `ask` belongs to the commit whose changes were taken at the same moment: what it refers to is on
    disk when it is read.
    """

    def __init__(
        self,
        held: Held,
        outcomes: Outcomes,
        ledger: Ledger,
        dependencies: Dependencies,
        encode: Callable[[Failure], bytes],
    ) -> None:
        self._held = held
        self._outcomes = outcomes
        self._ledger = ledger
        self._dependencies = dependencies
        self._encode = encode
        self._unresolved: set[int] = set()
        self._withdrawals: list[Withdrawal] = []
        self._asked = Asked()

    def resolve(self, block_id: int) -> None:
        """Ask where the calls stand that this one waits for."""
        self._unresolved.add(block_id)

    def withdraw(self, withdrawal: Withdrawal) -> None:
        """End calls that are on disk only."""
        self._withdrawals.append(withdrawal)

    def has_room(self, lane: Lane, calls: int, size: int) -> bool:
        """Whether memory should take more calls of a lane as they come."""
        if lane.spill or lane.locked:
            return False
        if not lane.held_calls:
            return True
        fits = lane.held_calls + calls <= WINDOW_CALLS and lane.held_bytes + size <= WINDOW_BYTES
        return fits and self._held.bytes < MEMORY_BYTES

    # ---- asking

    @property
    def wants(self) -> bool:
        """Whether there is anything to ask."""
        return bool(
            self._unresolved
            or any(not one.lane.locked for one in self._withdrawals)
            or any(_may_recall(lane) or _may_refill(lane) for lane in self._held.hungry)
        )

    def ask(self) -> Reads:
        """What is to be read with the commit that begins now."""
        asked, reads = Asked(), Reads()
        for lane in list(self._held.hungry):
            self._ask_recalls(lane, asked, reads)
            self._ask_refill(lane, asked, reads)
            if not (lane.recalls or lane.spill):
                self._held.hungry.discard(lane)
        for withdrawal in [one for one in self._withdrawals if not one.lane.locked]:
            withdrawal.lane.locked = True
            first, last = withdrawal.ranges[0]
            self._ask_range(withdrawal.lane, first, last, asked, reads)
            asked.withdrawals.append(withdrawal)
            self._withdrawals.remove(withdrawal)
        for block_id in self._unresolved:
            waiting = self._dependencies.waiting.get(block_id)
            if waiting is not None:
                reads.blocked.append((block_id, waiting.upstreams))
        self._unresolved.clear()
        self._asked = asked
        return reads

    def _ask_recalls(self, lane: Lane, asked: Asked, reads: Reads) -> None:
        while _may_recall(lane):
            recall = lane.recalls.popleft()
            lane.recalling += 1
            asked.recalls.append((lane, recall))
            reads.recalls.append((recall.block_id, recall.ending is None))

    def _ask_refill(self, lane: Lane, asked: Asked, reads: Reads) -> None:
        if not _may_refill(lane):
            return
        lane.locked = True
        self._ask_range(lane, *lane.spill.next(), asked, reads)
        asked.lanes.append(lane)

    @staticmethod
    def _ask_range(lane: Lane, first: int, last: int, asked: Asked, reads: Reads) -> None:
        calls = WINDOW_CALLS - min(lane.held_calls, WINDOW_CALLS // 2)
        refill = Refill(lane.session, lane.spec.number, first, last, calls)
        asked.refills.append(refill)
        reads.refills.append(refill)

    def end_asked(
        self, lane: Lane, first: int, count: int, items: tuple[int, int] | None, ending: Ending
    ) -> int:
        """Recalled calls that are being read just now end when they are here. Returns how many."""
        found = 0
        for index, (owner, recall) in enumerate(self._asked.recalls):
            start, stop = recall.overlap(first, count, items)
            if owner is lane and (start, stop) == (recall.start, recall.stop):
                self._asked.recalls[index] = (lane, replace(recall, ending=ending))
                found += stop - start
        return found

    # ---- taking what was found

    def take(self, found: Found) -> None:
        """Put what was read where it belongs."""
        asked, self._asked = self._asked, Asked()
        for block_id, upstreams in found.blocked:
            self._take_upstreams(block_id, upstreams)
        for (lane, recall), row in zip(asked.recalls, found.recalls, strict=True):
            lane.recalling -= 1
            if row is not None:
                self._take_recall(lane, recall, row)
            self._held.enter(lane)
        pages = list(zip(asked.refills, found.refills, strict=True))
        for lane, (refill, page) in zip(asked.lanes, pages, strict=False):
            self._take_refill(lane, refill, *page)
        rest = pages[len(asked.lanes) :]
        for withdrawal, (refill, page) in zip(asked.withdrawals, rest, strict=True):
            self._take_page(withdrawal, refill, *page)

    def _take_recall(self, lane: Lane, recall: Recall, row: BlockRow) -> None:
        block = self._block(lane, row)
        if recall.ending is not None:
            self._outcomes.end_stored(block, recall.start, recall.stop, recall.ending)
        else:
            self._held.add_recalled(block, recall, row.inputs)

    def _take_refill(self, lane: Lane, refill: Refill, rows: list[BlockRow], end: bool) -> None:  # noqa: FBT001
        lane.locked = False
        last = refill.last
        if rows and not end:
            last = split_stored_id(rows[-1].id)[1] + rows[-1].calls - 1
        blocks = [self._block(lane, row) for row in rows]
        lane.spill.read(last, sum(block.left for block in blocks))
        for block in blocks:
            self._held.add(block)
        self._held.enter(lane)

    def _take_page(
        self,
        withdrawal: Withdrawal,
        refill: Refill,
        rows: list[BlockRow],
        end: bool,  # noqa: FBT001
    ) -> None:
        lane = withdrawal.lane
        lane.locked = False
        for row in rows:
            block = self._block(lane, row)
            first, last = withdrawal.ranges[0]
            whole = Span(block, 0, block.size)
            start, stop = within(whole, first, last - first + 1, withdrawal.items)
            ended = self._outcomes.end_stored(block, start, stop, withdrawal.ending)
            lane.spill.removed(ended)
            withdrawal.ended += ended
        if end:
            withdrawal.ranges.pop(0)
        else:
            last_row = split_stored_id(rows[-1].id)[1] + rows[-1].calls - 1
            withdrawal.ranges[0] = (last_row + 1, refill.last)
        if withdrawal.ranges:
            self._withdrawals.insert(0, withdrawal)
        else:
            withdrawal.done(withdrawal.ended)
            self._held.enter(lane)

    def _block(self, lane: Lane, row: BlockRow) -> Block:
        """A block that was read; the one that memory has of it, where it has: that knows more."""
        known = self._held.blocks.get(row.id) or self._ledger.changed(row.id)
        if known is not None:
            return known
        first = split_stored_id(row.id)[1]
        block = Block(lane, first, row.arguments, items=row.items, offset=row.offset)
        block.accepted_at = row.accepted_at
        block.needs = self._dependencies.needs(row.id)
        if row.done is not None:
            block.restore(row.done)
        return block

    # ---- calls that wait for others

    def results_committed(self, rows: list[ResultRow], ended_chunks: set[int]) -> None:
        """Calls ended, and that is on disk: those that wait for them learn it."""
        if not self._dependencies:
            return
        for row in rows:
            first = stored_id(row.session, row.first)
            if row.items and first not in ended_chunks:
                continue
            good = not row.items and row.statuses.count(Status.OK) == len(row.statuses)
            for call, waiters in self._dependencies.ended(first, row.calls):
                for block_id in waiters:
                    self._upstream_ended(block_id, call, good=good)

    def _upstream_ended(self, block_id: int, call: int, *, good: bool) -> None:
        if not good:
            self.resolve(block_id)
        elif self._dependencies.is_there(block_id, call):
            self._release(block_id, None)

    def _take_upstreams(self, block_id: int, upstreams: list[Upstream]) -> None:
        waiting = self._dependencies.waiting.get(block_id)
        if waiting is None:
            return
        for upstream in upstreams:
            if upstream.status is None:
                continue
            waiting.missing.discard(upstream.call)
            if upstream.status is not Status.OK:
                self._release(block_id, self._ending(upstream))
                return
        if not waiting.missing:
            self._release(block_id, None)
        for call in waiting.missing:
            self._dependencies.await_call(block_id, call)

    def _ending(self, upstream: Upstream) -> Ending:
        if upstream.status is not Status.REFUSED or upstream.value:
            return Ending(Status.DEPENDENCY_FAILED, upstream.value)
        session, sequence = split_stored_id(upstream.call)
        known = self._ledger.sessions.get(session)
        name = call_id(known.name, sequence) if known else f"call {sequence} of another session"
        failure = failures.unknown_dependency(name)
        return Ending(failure.status, self._encode(failure))

    def _release(self, block_id: int, ending: Ending | None) -> None:
        waiting = self._dependencies.release(block_id)
        if waiting is not None:
            for recall in waiting.recalls:
                self._held.recall(waiting.lane, replace(recall, ending=ending))


def _may_recall(lane: Lane) -> bool:
    """Whether a lane's next recalled call should be read."""
    if not lane.recalls:
        return False
    return lane.recalls[0].ending is not None or lane.recalling + len(lane.ahead) < _RECALLS


def _may_refill(lane: Lane) -> bool:
    """Whether more of a lane should be in memory."""
    full = lane.held_calls > WINDOW_CALLS // 2 or lane.held_bytes > WINDOW_BYTES // 2
    return bool(lane.spill) and not lane.locked and not full
