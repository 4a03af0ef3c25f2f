"""The heartbeat: what a pass of the loop has brought is dispatched, then made durable, then told.

Calls go to workers before they are on disk (a result is told only after both are), except those
that may be run once at most. One commit a pass; while one is under way, the next one gathers.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Protocol

from gridloom_services.common.errors import GridloomServiceError
from gridloom_services.common.store import end_process

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom_services.functions.dispatch import Dispatcher, Lease, PoolQueue
    from gridloom_services.functions.ledger import Ledger, Taken
    from gridloom_services.functions.metrics import CallMetrics
    from gridloom_services.functions.recalling import Recalling
    from gridloom_services.functions.session import Session
    from gridloom_services.functions.store.base import CallStore
    from gridloom_services.functions.store.rows import Found, Reads, ResultRow

RETRY_S = 1.0
"""Between attempts to write when the disk is full or the database does not answer."""

HOLD_S = 0.001
"""How long the commit of a lone call waits for its result: then they are one transaction.

The way to a worker and back takes 0.3 to 0.5 ms: who waits for less writes twice what came late.
"""

MOST_HOLD_S = 0.003
"""It waits up to this where commits take as long themselves: two of them would take longer."""

_SPIN_S = 0.0012
"""For so long the loop runs idle: timers are coarser, and one that sleeps wakes late."""

_BEHIND_BYTES = 32 << 20
"""Arguments that may wait in memory for a commit."""

_LOADED_UNITS = 64
"""Workers that hold so many calls are busy enough for commits to be spaced..."""

_COMMIT_SHARE = 3.0
"""... so that they take about a quarter of the time..."""

_LEAST_PAUSE_S, _MOST_PAUSE_S = 0.001, 0.002
"""... and delay nobody by more than this."""

_HELD_ITEM_US = 200
"""It is held only where the function is known to be this quick."""

_log = logging.getLogger(__name__)


class Outlet(Protocol):
    """The way to the workers."""

    def prepare(self, lease: Lease) -> Callable[[], None]:
        """Encode a lease as it is now; the returned function sends it."""


class Watcher(Protocol):
    """Is told what came of each commit."""

    def committed(self, taken: Taken, found: Found) -> None:
        """This is on disk."""

    def store_failed(self, error: GridloomServiceError) -> None:
        """Nothing can be written now; it will be tried again."""


class Cycle:
    """Drives dispatch and commits. `poke` after every event."""

    def __init__(
        self,
        store: CallStore,
        ledger: Ledger,
        recalling: Recalling,
        dispatcher: Dispatcher,
        metrics: CallMetrics,
        on_defect: Callable[[str], object] = end_process,
    ) -> None:
        """`on_defect`: what is in memory and what is on disk may differ now; a restart mends it."""
        self._on_defect = on_defect
        self._store = store
        self._ledger = ledger
        self._recalling = recalling
        self._dispatcher = dispatcher
        self._held = dispatcher.held
        self._metrics = metrics
        self._loop: asyncio.AbstractEventLoop
        self._outlet: Outlet
        self._pumped: Callable[[PoolQueue], None]
        self._watchers: list[Watcher] = []
        self._scheduled = False
        self._committing = False
        self._is_open = False
        self._deferred: list[Callable[[], None]] = []
        self._hold_until: float | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._postponed: asyncio.TimerHandle | None = None
        self._committed_at = self._commit_s = 0.0
        self._room = asyncio.Event()
        self._flush_waiters: list[asyncio.Future[None]] = []
        self._readers: set[asyncio.Future[None]] = set()
        self.trouble: GridloomServiceError | None = None
        """Why nothing can be written at present."""
        self.hold_s = HOLD_S

    def start(
        self, outlet: Outlet, pumped: Callable[[PoolQueue], None], *watchers: Watcher
    ) -> None:
        """Begin to beat. `pumped` is told of each pool after its dispatch."""
        self._loop = asyncio.get_running_loop()
        self._outlet, self._pumped = outlet, pumped
        self._watchers.extend(watchers)
        self._is_open = True
        self.poke()

    def stop(self) -> None:
        """No more passes."""
        self._is_open = False
        for timer in (self._alarm, self._postponed):
            if timer is not None:
                timer.cancel()

    def poke(self) -> None:
        """Something has happened: run a pass after this one's events."""
        if not self._scheduled and self._is_open:
            self._scheduled = True
            self._loop.call_soon(self._pass)

    @property
    def is_behind(self) -> bool:
        """Clients send faster than the store writes: they should wait."""
        return self._committing and self._ledger.pending_bytes > _BEHIND_BYTES

    async def has_room(self) -> None:
        """Return when the store has caught up."""
        while self.is_behind:
            self._room.clear()
            await self._room.wait()

    async def flushed(self) -> None:
        """Return when everything that was decided before is on disk."""
        if self._ledger or self._committing:
            await self._flushing()

    async def readable(self) -> None:
        """The same for questions: while nothing can be written, they are not kept waiting.

        All that was acknowledged is on disk then, too.
        """
        if self.trouble is not None or not (self._ledger or self._committing):
            return
        done = self._flushing()
        self._readers.add(done)
        try:
            await done
        finally:
            self._readers.discard(done)

    def _flushing(self) -> asyncio.Future[None]:
        done = self._loop.create_future()
        self._flush_waiters.append(done)
        self.poke()
        return done

    @property
    def is_settled(self) -> bool:
        """Everything that was decided is on disk."""
        return not (self._scheduled or self._committing or self._ledger)

    # ---- a pass

    def _pass(self) -> None:
        self._scheduled = False
        if self._is_open:
            self._guarded(self._beat)

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001  # nothing above could do better
            _log.exception("a defect in the heartbeat of calls")
            self._on_defect(repr(error))

    def _beat(self) -> None:
        now = self._loop.time()
        self._set_alarm(self._held.tick(now), now)
        if self.trouble is None:
            self._pump(now)
        if self._should_hold(now):
            self._hold(now)
        elif (wait_s := self._spacing(now)) > 0:
            self._postpone(wait_s)
        else:
            self._commit()

    def _spacing(self, now: float) -> float:
        """How long the next commit should wait: under load, many small ones cost more than few."""
        if not self._is_loaded() or self._flush_waiters or self._deferred:
            return 0.0
        if self._ledger.is_awaited:
            return 0.0  # who sends one call after the other would wait for each
        pause_s = min(max(_COMMIT_SHARE * self._commit_s, _LEAST_PAUSE_S), _MOST_PAUSE_S)
        return self._committed_at + pause_s - now

    def _is_loaded(self) -> bool:
        """More answers are on their way: workers hold many calls."""
        workers = self._dispatcher.workers.values()
        return sum(worker.open_units for worker in workers) >= _LOADED_UNITS

    def _postpone(self, wait_s: float) -> None:
        """Run a pass then, whatever happens before."""
        if self._postponed is None:
            # A shorter time is none at all to the loop.
            self._postponed = self._loop.call_later(max(wait_s, 0.001), self._resume)

    def _resume(self) -> None:
        self._postponed = None
        self.poke()

    def _pump(self, now: float) -> None:
        while self._held.dirty:
            pool = self._held.dirty.pop()
            for lease in self._dispatcher.pump(pool, now):
                self._send(lease)
            self._pumped(pool)

    def _send(self, lease: Lease) -> None:
        send = self._outlet.prepare(lease)
        if not lease.lane.spec.at_most_once:
            send()
            return
        for span in lease.spans:
            self._ledger.begun(span)
        lease.is_sent = False
        self._deferred.append(partial(_send_late, lease, send))

    def _set_alarm(self, at: float | None, now: float) -> None:
        """Run a pass when the next back-off ends."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if at is not None:
            self._alarm = self._loop.call_later(max(at - now, 0.001), self.poke)

    def _should_hold(self, now: float) -> bool:
        """Whether a lone call's result may come soon enough to be written together with it."""
        if not self.hold_s or self._committing or not self._is_lone():
            self._hold_until = None
            return False
        if self._hold_until is None:
            self._hold_until = now + max(self.hold_s, min(self._commit_s, MOST_HOLD_S))
        return now < self._hold_until

    def _hold(self, now: float) -> None:
        """Look again when the result is there, or the time is over."""
        left_s = 0.0 if self._hold_until is None else self._hold_until - now
        if left_s > _SPIN_S:
            self._postpone(left_s)
        else:
            self.poke()

    def _is_lone(self) -> bool:
        if not self._ledger.is_lone_call or self._recalling.wants or self._deferred:
            return False
        lane = self._ledger.lone_lane
        item_us = lane.estimate.item_us
        return bool(lane.running) and item_us is not None and item_us < _HELD_ITEM_US

    # ---- a commit

    def _commit(self) -> None:
        if self._committing or self.trouble:
            return
        if not (self._ledger or self._recalling.wants or self._flush_waiters):
            return
        self._committing = True
        told = [_setter(waiter) for waiter in self._flush_waiters]
        after = [*self._deferred, *told]
        self._deferred.clear()
        self._flush_waiters.clear()
        self._write(self._ledger.take(), self._recalling.ask(), after)

    def _write(self, taken: Taken, reads: Reads, after: list[Callable[[], None]]) -> None:
        begun = self._loop.time()

        def done(found: Found | Exception) -> None:
            self._guarded(partial(self._written, taken, reads, after, begun, found))

        self._store.commit(taken.changes, reads, done)

    def _written(
        self,
        taken: Taken,
        reads: Reads,
        after: list[Callable[[], None]],
        begun: float,
        found: Found | Exception,
    ) -> None:
        if isinstance(found, GridloomServiceError):
            self._failed(found)
            self._loop.call_later(RETRY_S, self._write, taken, reads, after)
            return
        if isinstance(found, Exception):
            raise found
        self._committed_at = self._loop.time()
        self._commit_s = self._committed_at - begun
        self._metrics.commit_seconds.observe(self._commit_s)
        self._committing, self.trouble = False, None
        self._room.set()
        self._apply(taken, found)
        for step in after:
            step()
        if self._ledger or self._held.dirty or self._recalling.wants or self._flush_waiters:
            self.poke()

    def _failed(self, error: GridloomServiceError) -> None:
        if self.trouble is None:
            _log.error("calls cannot be written", extra={"reason": error.message})
        self.trouble = error
        for reader in self._readers:
            _setter(reader)()
        for watcher in self._watchers:
            watcher.store_failed(error)

    def _apply(self, taken: Taken, found: Found) -> None:
        """Tell everybody what is on disk now."""
        changes = taken.changes
        for last, _, _, _, number in changes.sessions:
            session = self._ledger.sessions.get(number)
            if session is not None and session.acknowledged < last:
                session.acknowledged = last
                session.delivery.wake()
        if changes.results:
            _offer(self._ledger.sessions, changes.results)
            self._recalling.results_committed(changes.results, taken.ended_chunks)
        self._recalling.take(found)
        for session in taken.sessions:
            for tell in list(session.watchers):
                tell()
        for watcher in self._watchers:
            watcher.committed(taken, found)


def _send_late(lease: Lease, send: Callable[[], None]) -> None:
    lease.is_sent = True
    send()


def _setter(waiter: asyncio.Future[None]) -> Callable[[], None]:
    def tell() -> None:
        if not waiter.done():
            waiter.set_result(None)

    return tell


def _offer(sessions: dict[int, Session], rows: list[ResultRow]) -> None:
    """Hand results to their sessions' streams, each session's in one piece."""
    if rows[0].session == rows[-1].session and len({row.session for row in rows}) == 1:
        sessions[rows[0].session].delivery.offer(rows)
        return
    by_session: dict[int, list[ResultRow]] = {}
    for row in rows:
        by_session.setdefault(row.session, []).append(row)
    for number, own in by_session.items():
        sessions[number].delivery.offer(own)
