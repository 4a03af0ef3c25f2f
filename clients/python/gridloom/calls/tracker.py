"""Which of somebody's calls have not ended: remembered by number, so that no result is held."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

from gridloom.calls.future import CallFuture

if TYPE_CHECKING:
    from gridloom.calls.outbox import Sink
    from gridloom.calls.run import MapRun
    from gridloom.calls.session import Session

_PRUNE_FIRST_AT = 1024


class Tracker:
    """The calls and maps that went through one pool handle or executor."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[tuple[Session, int]] = []
        self._runs: list[MapRun] = []
        self._prune_at = _PRUNE_FIRST_AT

    def add(self, session: Session, number: int) -> None:
        """Remember a call."""
        with self._lock:
            self._calls.append((session, number))
            if len(self._calls) >= self._prune_at:
                self._calls = [one for one in self._calls if _sink(*one) is not None]
                self._prune_at = max(2 * len(self._calls), _PRUNE_FIRST_AT)

    def add_run(self, run: MapRun) -> None:
        """Remember a map."""
        with self._lock:
            self._runs = [*(one for one in self._runs if not one.is_over), run]

    def cancel(self, grace_s: float) -> None:
        """Ask that none of it goes on for longer than this."""
        with self._lock:
            calls, runs = list(self._calls), list(self._runs)
        for session, number in calls:
            if _sink(session, number) is not None:
                session.cancel(number, running=True, grace_s=grace_s)
        for run in runs:
            run.cancel(grace_s)

    def cancel_waiting(self) -> None:
        """Ask that whatever has not begun does not begin; what has, ends by itself."""
        with self._lock:
            calls, runs = list(self._calls), list(self._runs)
        for session, number in calls:
            if _sink(session, number) is not None:
                session.cancel(number, running=False, grace_s=None)
        for run in runs:
            run.cancel_waiting()

    def wait(self, timeout: float | None = None) -> bool:
        """Whether all of it has ended, after that time at most."""
        ends_at = math.inf if timeout is None else time.monotonic() + timeout
        with self._lock:
            calls, runs = list(self._calls), list(self._runs)
        for session, number in calls:
            sink = _sink(session, number)
            if isinstance(sink, CallFuture) and not sink.await_over(_left(ends_at)):
                return False
        return all(run.wait_over(_left(ends_at)) for run in runs)


def _left(ends_at: float) -> float | None:
    return None if ends_at == math.inf else max(ends_at - time.monotonic(), 0.0)


def _sink(session: Session, number: int) -> Sink | None:
    """Where the results of a call go, as long as they have not come."""
    return session.outbox.pending.get(number)
