"""A worker as dispatch sees it: what it holds, and whether it should be given more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.values import dataclass

if TYPE_CHECKING:
    from gridloom_services.functions.dispatch.lane import Lane
    from gridloom_services.functions.dispatch.lease import Lease

SLICE_US = 4_000
"""A batch is about this much work; a worker holds two of them, so that it is never idle..."""

CONTENDED_SLICE_US = 1_000
"""... or this much, where several clients or maps want the same workers: they wait for less."""

PREFETCH_US = 5_000
"""Items longer than this are sent one a slot: nothing waits behind them."""

BATCH_UNITS = 512

BATCH_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Death:
    """Why a worker's connection ended, as its host says; `busy` with where it was.

    `others`: of a worker with several slots, the batch, unit and item of what else it had begun.
    """

    out_of_memory: bool = False
    timed_out: bool = False
    busy: bool = False
    batch: int = 0
    unit: int = 0
    item: int | None = None
    others: tuple[tuple[int, int, int], ...] = ()
    details: tuple[tuple[str, str], ...] = ()


class Worker:
    """One connected worker of a pool."""

    __slots__ = (
        "alone",
        "asked_at",
        "blocked",
        "draining",
        "host_id",
        "id",
        "idle_since",
        "leases",
        "open_units",
        "owed_us",
        "pool_id",
        "progress_at",
        "reserved",
        "slots",
    )

    def __init__(self, worker_id: str, pool_id: str, host_id: str, slots: int, now: float) -> None:
        self.id = worker_id
        self.pool_id = pool_id
        self.host_id = host_id
        self.slots = max(slots, 1)
        self.leases: dict[int, Lease] = {}
        self.open_units = 0
        self.owed_us = 0.0
        self.blocked: set[tuple[int, int]] = set()
        """Batch and unit of the calls in it that wait for other calls."""
        self.alone = False
        """It holds an isolated unit, and gets nothing beside it."""
        self.reserved = False
        """It is being emptied for an isolated unit."""
        self.draining = False
        self.asked_at = now
        """When it was last asked to give work back."""
        self.idle_since = now
        self.progress_at = now
        """Of its last answer, or of its first lease after it was idle."""

    @property
    def free_slots(self) -> int:
        """Slots that would run a unit at once."""
        if self.alone or self.draining or self.reserved:
            return 0
        return self.slots - max(self.open_units, len(self.blocked))

    @property
    def load(self) -> tuple[float, int]:
        """What it holds, for choosing the least loaded."""
        return self.owed_us / self.slots, self.open_units

    def budget(self, lane: Lane, sharers: int, slice_us: int = SLICE_US) -> int:
        """Positions of a lane that it should be given now; 0: none.

        Small and unknown work is shared among `sharers` workers; known short work is sent ahead, in
        batches of about `slice_us`.
        """
        if lane.next_isolated:
            return int(not self.leases and not self.draining and not self.blocked)
        free, item_us = self.free_slots, lane.estimate.item_us
        fair = -(-(lane.demand + lane.running) // max(sharers, 1))
        if item_us is None or item_us > PREFETCH_US or lane.spec.at_most_once:
            return max(min(free, fair), 0)
        if free <= 0 and not self._may_prefetch(slice_us):
            return 0
        return max(min(int(slice_us * self.slots / item_us), self._most(lane), fair), 1)

    def _may_prefetch(self, slice_us: int) -> bool:
        """Whether short work may wait in it behind what it holds."""
        if self.alone or self.draining or self.reserved or self.blocked:
            return False
        return self.owed_us / self.slots <= slice_us

    @staticmethod
    def _most(lane: Lane) -> int:
        """Positions that one batch may hold, by number and by size of the arguments."""
        if not lane.held_calls:
            return BATCH_UNITS
        mean_bytes = lane.held_bytes // lane.held_calls + 1
        most = min(BATCH_UNITS, max(BATCH_BYTES // mean_bytes, 1))
        return most * _items_per_call(lane)

    def open_to_more(self, slice_us: int) -> bool:
        """Whether any work at all could be given to it; a quick answer for the usual no."""
        if self.free_slots > 0 or (not self.leases and self.reserved):
            return True
        return self._may_prefetch(slice_us)

    def give(self, lease: Lease, now: float) -> None:
        """Hold a lease."""
        if not self.leases:
            self.progress_at = now
        self.leases[lease.number] = lease
        self.open_units += lease.left_units
        self.owed_us += lease.positions * lease.item_us
        self.alone = lease.spans[0].isolated
        self.reserved = False

    def overdue(self, now: float, grace_s: float) -> Lease | None:
        """A lease in which it has been silent for longer than the time-out and a grace allow."""
        for lease in self.leases.values():
            timeout_ms = lease.lane.spec.timeout_ms
            if timeout_ms and now - self.progress_at > timeout_ms / 1000 + grace_s:
                return lease
        return None

    def settled(self, lease: Lease, units: int, positions: int) -> None:
        """Some of a lease was answered or taken back."""
        self.open_units -= units
        self.owed_us = max(self.owed_us - positions * lease.item_us, 0.0)

    def drop(self, lease: Lease, now: float) -> None:
        """Forget a lease that is done."""
        if self.leases.pop(lease.number, None) is None:
            return
        self.open_units -= lease.left_units
        self.blocked = {place for place in self.blocked if place[0] != lease.number}
        if not self.leases:
            self.alone, self.owed_us, self.open_units, self.idle_since = False, 0.0, 0, now


def _items_per_call(lane: Lane) -> int:
    """Items of the lane's next chunk; 1 for plain calls."""
    source = lane.ahead or lane.queue
    return source[0].block.items or 1 if source else 1
