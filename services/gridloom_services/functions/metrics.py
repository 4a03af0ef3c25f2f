"""What the functions service counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gridloom_services.common.metrics import Counter, Metrics
    from gridloom_services.functions.desk import Desk

_SECONDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5)


class CallMetrics:
    """The instruments. Counters are raised once a message or commit, never once a call."""

    def __init__(self, metrics: Metrics) -> None:
        self.accepted = metrics.counter(
            "gridloom_functions_accepted_items", "Calls and items of chunks that were taken in."
        )
        self.finished = metrics.counter(
            "gridloom_functions_finished_items",
            "Calls and items that have a result, by outcome.",
            ("outcome",),
        )
        self.good = self.finished.labels("succeeded")
        self.bad = self.finished.labels("failed")
        self.commit_seconds = metrics.histogram(
            "gridloom_functions_commit_seconds",
            "From the begin of a commit until it is on disk.",
            buckets=_SECONDS,
        )
        self.unfinished = metrics.gauge(
            "gridloom_functions_unfinished_items", "Calls and items that wait or run."
        )
        self.workers = metrics.gauge("gridloom_functions_connected_workers", "Workers connected.")
        self.sessions = metrics.gauge("gridloom_functions_open_sessions", "Clients connected.")
        self.stale = metrics.counter(
            "gridloom_functions_stale_answers", "Answers under a lease that is over: refused."
        )
        self.deaths = metrics.counter(
            "gridloom_functions_dead_workers", "Workers whose connection ended while they worked."
        )
        self._told = {"accepted": 0, "good": 0, "bad": 0, "stale": 0}

    def observe(self, desk: Desk) -> None:
        """Take over what is counted elsewhere, where it costs least."""
        ledger = desk.ledger
        self._raise("accepted", self.accepted, desk.intake.accepted_items)
        self._raise("good", self.good, ledger.finished_items - ledger.failed_items)
        self._raise("bad", self.bad, ledger.failed_items)
        self._raise("stale", self.stale, desk.dispatcher.stale_answers)
        self.unfinished.set(ledger.unfinished)
        self.sessions.set(len(desk.streams))

    def _raise(self, name: str, counter: Counter, now: int) -> None:
        counter.inc(now - self._told[name])
        self._told[name] = now
