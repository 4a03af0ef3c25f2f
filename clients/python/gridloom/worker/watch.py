"""What the host does about workers that run: time-outs, cancels, memory, output without end."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, NamedTuple

from gridloom.worker.attention import KNOCK
from gridloom.worker.progress import (
    BATCH,
    CAPTURING,
    DEADLINE,
    HOARDING,
    INTERRUPT,
    INTERRUPT_BATCH,
    KILL_AT,
    NEVER,
    PLACE,
    Place,
    encode_place,
)
from gridloom.worker.supervision import processes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gridloom.api.functions.v1.worker_pb2 import UnitCancel
    from gridloom.worker.child import Child

# A busy worker is looked at this often.
TICK_NS = 100_000_000
# A call that is cancelled on its way to a worker begins there within this, or it has ended: between
# taking a batch of one call and beginning it, a worker does not look for cancels.
_BEGINS_IN_NS = 5_000_000_000
# While it prints without end.
_PRINTING_TICK_NS = 10_000_000
# A process cannot fill memory faster than this.
_FILL_BYTES_PER_S = 4 << 30
_SHORTEST_TICK_NS = 5_000_000
# A call that goes on this long after its time-out is killed with its worker.
TIMEOUT_GRACE_NS = 2_000_000_000


class _CancelOrder(NamedTuple):
    """A call that must be over at a point in time."""

    batch: int
    unit: int
    ranges: tuple[range, ...]
    kill_at_ns: int
    kept_until_ns: int

    def is_for(self, place: Place) -> bool:
        """Whether the call in this place is meant."""
        if (place.batch, place.unit) != (self.batch, self.unit):
            return False
        return not self.ranges or any(place.item in each for each in self.ranges)


class Watch:
    """Looks at all workers, interrupts and kills, and says when to look again."""

    def __init__(self, memory_bytes: int) -> None:
        self.memory_bytes = memory_bytes
        self._orders: list[_CancelOrder] = []

    def cancel(self, request: UnitCancel, now: int) -> None:
        """A running call is to be interrupted now, and killed after the grace."""
        if request.running:
            ranges = tuple(range(each.first, each.first + each.count) for each in request.ranges)
            kill_at = now + request.grace_ms * 1_000_000
            order = _CancelOrder(request.batch, request.unit, ranges, kill_at, now + _BEGINS_IN_NS)
            self._orders.append(order)

    def numbers_begin_anew(self) -> None:
        """From now on batches are of another service, or of its next life: wait for none of old."""
        self._orders = [each._replace(kept_until_ns=0) for each in self._orders]

    def look(self, children: Iterable[Child], now: int) -> int:
        """Do what is due. Returns when to look again by the monotonic clock, or NEVER."""
        next_look = NEVER
        seen: set[_CancelOrder] = set()
        for child in children:
            busy = list(child.seat.board.places())
            for place, slot in busy:
                next_look = min(next_look, self._look_at_call(child, place, slot, now))
                seen.update(self._obey(child, place, slot, now))
            if busy:
                next_look = min(next_look, now + self._look_at_process(child, busy[0][0]))
        self._orders = [each for each in self._orders if each in seen or now < each.kept_until_ns]
        due = [each.kill_at_ns if each in seen else now + TICK_NS for each in self._orders]
        return min([next_look, *due])

    # ---- time

    def _look_at_call(self, child: Child, place: Place, slot: memoryview, now: int) -> int:
        deadline, kill_at = slot[DEADLINE], slot[KILL_AT]
        if deadline and now >= deadline:
            self._warn(child, place, deadline)
            if now >= deadline + TIMEOUT_GRACE_NS:
                child.timed_out = _kill_in(child, place, slot, (DEADLINE, deadline))
        elif kill_at and now >= kill_at:
            _kill_in(child, place, slot, (KILL_AT, kill_at))
        next_deadline = deadline if now < deadline else deadline + TIMEOUT_GRACE_NS
        return min(next_deadline if deadline else NEVER, kill_at or NEVER)

    @staticmethod
    def _warn(child: Child, place: Place, deadline: int) -> None:
        """Interrupt a call whose time is up, once."""
        warning = (place, deadline)
        if warning not in child.warned:
            child.warned = {warning, *(each for each in child.warned if each[1] == deadline)}
            knock(child)

    def _obey(
        self, child: Child, place: Place, slot: memoryview, now: int
    ) -> Iterable[_CancelOrder]:
        """Interrupt a cancelled call, or kill it where its grace is over."""
        for order in self._orders:
            if not order.is_for(place):
                continue
            word = encode_place(place.unit, place.item)
            if now >= order.kill_at_ns:
                _kill_in(child, place, slot, (PLACE, word))
            elif slot[INTERRUPT] != word or slot[INTERRUPT_BATCH] != place.batch:
                slot[INTERRUPT_BATCH] = place.batch
                slot[INTERRUPT] = word
                knock(child)
            yield order

    # ---- the process

    def _look_at_process(self, child: Child, place: Place) -> int:
        """After what time to look at a busy worker again."""
        pause = TICK_NS
        header = child.seat.board.header
        if child.last_place != place:
            child.last_place, child.knocked = place, False
        elif (header[HOARDING] and not child.knocked) or header[CAPTURING]:
            # It is in a long call: what it has finished and printed should not wait for the end.
            child.knocked = True
            knock(child)
        for file in child.seat.captures or ():
            if file.trim():
                pause = _PRINTING_TICK_NS
        if self.memory_bytes:
            pause = min(pause, self._look_at_memory(child))
        return pause

    def _look_at_memory(self, child: Child) -> int:
        pids = [child.pid, *processes.descendants(child.pid)]
        used = processes.resident_bytes(pids)
        if used > self.memory_bytes:  # pages that they share count once
            used = processes.proportional_bytes(pids)
        child.peak_bytes = max(child.peak_bytes, used)
        if used > self.memory_bytes:
            child.out_of_memory = True
            processes.send([child.pid], signal.SIGKILL)
        # As soon as it could be full.
        room_ns = (self.memory_bytes - used) * 1_000_000_000 // _FILL_BYTES_PER_S
        return min(max(room_ns, _SHORTEST_TICK_NS), TICK_NS)


def knock(child: Child) -> None:
    """Make a worker look up from what it does."""
    processes.send_to_main_thread(child.pid, KNOCK)


def _kill_in(child: Child, place: Place, slot: memoryview, due: tuple[int, int]) -> bool:
    """Kill a worker if it is in this place still, and the field has the value; whether it was.

    It is stopped first: the call in which it was seen a moment ago may be over by now.
    """
    field, value = due
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(child.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        word = encode_place(place.unit, place.item)
        if (slot[BATCH], slot[PLACE], slot[field]) == (place.batch, word, value):
            os.kill(child.pid, signal.SIGKILL)
            return True
        os.kill(child.pid, signal.SIGCONT)
    return False
