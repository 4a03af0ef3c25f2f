"""What the scheduler counts."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gridloom_services.scheduler.states import JobState

if TYPE_CHECKING:
    from gridloom_services.common.metrics import Metrics
    from gridloom_services.scheduler.core import Core
    from gridloom_services.scheduler.journal import Batch

_LIVE = (JobState.HELD, JobState.QUEUED, JobState.STARTING, JobState.RUNNING)
SECOND_US = 1_000_000


class SchedulerMetrics:
    """The instruments of one scheduler."""

    def __init__(self, metrics: Metrics) -> None:
        prefix = "gridloom_scheduler"
        self._is_on = metrics.is_on
        self._submitted = metrics.counter(
            f"{prefix}_jobs_submitted", "Jobs accepted.", ("queue", "kind")
        )
        self._ended = metrics.counter(
            f"{prefix}_jobs_ended", "Jobs that are over.", ("queue", "state")
        )
        self._attempts = metrics.counter(
            f"{prefix}_attempts_ended",
            "Attempts of jobs and elements that are over, by failure class.",
            ("failure_class",),
        )
        self._jobs = metrics.gauge(f"{prefix}_jobs", "Jobs that are not over.", ("state",))
        self._free = metrics.gauge(
            f"{prefix}_resource_free_amount", "What is free now.", ("resource",)
        )
        self._waits = metrics.histogram(
            f"{prefix}_wait_seconds", "From the queue to the start, of attempts that are over."
        )
        self._plan = metrics.histogram(f"{prefix}_plan_seconds", "One cycle of the engine.")
        self._commit = metrics.histogram(f"{prefix}_commit_seconds", "One commit.")
        self._last_plan_s = 0.0

    def committed(self, batch: Batch, seconds: float) -> None:
        """Count what a commit wrote."""
        if not self._is_on:
            return
        self._commit.observe(seconds)
        added = Counter((job.queue_key, job.spec.kind) for job in batch.changes.added.values())
        for (queue, kind), count in added.items():
            self._submitted.labels(queue, kind).inc(count)
        for end in batch.changes.ends:
            self._attempts.labels(end.outcome.failure_class.label).inc()
            if end.started_us is not None:
                waited_s = max(end.started_us - end.queued_us, 0) / SECOND_US
                self._waits.observe(waited_s)
        for change in batch.published:
            if change.job.state.is_final:
                self._ended.labels(change.job.queue_key, change.job.state.name.lower()).inc()

    def passed(self, core: Core) -> None:
        """Say how things stand after a pass."""
        if not self._is_on:
            return
        for state in _LIVE:
            self._jobs.labels(state.name.lower()).set(core.board.counts[state])
        for resource, amount in core.engine.free().items():
            self._free.labels(resource).set(amount)
        if core.planner.last_plan_s != self._last_plan_s:
            self._last_plan_s = core.planner.last_plan_s
            self._plan.observe(self._last_plan_s)
