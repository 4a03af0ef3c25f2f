"""The engine's face: events in, decisions and answers out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom_services.scheduler.engine.explain import Explainer
from gridloom_services.scheduler.engine.misfit import misfit_of
from gridloom_services.scheduler.engine.plan import Plan
from gridloom_services.scheduler.engine.reach import Reaches
from gridloom_services.scheduler.engine.state import State
from gridloom_services.scheduler.engine.views import Views

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from gridloom_services.scheduler.engine.decisions import (
        Decisions,
        Explanation,
        Misfit,
        NodeState,
        QueueState,
        Snapshot,
    )
    from gridloom_services.scheduler.engine.events import Event, RoleRequest


class Engine:
    """A deterministic state machine that decides which gang starts where and when.

    State changes by `apply` alone; `plan` and every question leave it as it is. No clock, no I/O,
    no randomness: the same events give the same decisions, on any machine and under any hash seed.
    Not safe for use from several threads at once.

    `reservations` is how many waiting jobs at most are promised a start (EASY backfill: 1; 0: none,
    so large gangs may starve). `spare_devices` keeps gangs that ask for no device (a resource whose
    name contains "/") off nodes that have one, unless they could never run elsewhere.
    """

    def __init__(self, *, reservations: int = 1, spare_devices: bool = True) -> None:
        self._reservations = reservations
        self._state = State()
        self._reaches = Reaches(self._state.classes, self._state.nodes, spare_devices=spare_devices)
        self._explainer = Explainer(self._state, self._reaches)
        self._views = Views(self._state)

    def apply(self, event: Event) -> None:
        """Take over one event; `EngineError` where it contradicts the state, which then stands."""
        self._state.apply(event)

    def apply_all(self, events: Iterable[Event]) -> None:
        """Take over events in order; those before one that is refused stay."""
        self._state.apply_all(events)

    def plan(self, now: int, max_starts: int = 1000) -> Decisions:
        """What to do at `now`, with at most `max_starts` gangs and replicas started."""
        return Plan(self._state, self._reaches, self._reservations, now, max_starts).decide()

    def explain(self, job: str, now: int) -> Explanation:
        """Why the next waiting element of `job` has not started; `EngineError` if unknown."""
        return self._explainer.explain(job, now)

    def fits_ever(
        self, roles: tuple[RoleRequest, ...], selector: Mapping[str, str] | None = None
    ) -> Misfit | None:
        """None where the gang would fit onto the nodes that are here, were they empty."""
        return misfit_of(roles, selector or {}, self._state.nodes)

    def knows(self, job: str) -> bool:
        """Whether any element of `job` waits or runs."""
        return job in self._state.jobs.rows

    def waiting(self, except_jobs: Collection[str] = ()) -> int:
        """Jobs that wait for what others hold: no limit, quota or size forbids them for good."""
        return self._explainer.waiting(except_jobs)[0]

    def waiting_apart(self, jobs: Collection[str]) -> tuple[int, frozenset[str]]:
        """The same without these jobs, and which of these wait."""
        return self._explainer.waiting(jobs)

    def free(self) -> dict[str, int]:
        """What is free on nodes that may be used, by resource."""
        return self._views.free()

    def capacity(self) -> dict[str, int]:
        """What the nodes that may be used have, by resource."""
        return self._views.capacity()

    def nodes(self) -> tuple[NodeState, ...]:
        """Every node that is here, by name."""
        return self._views.nodes()

    def queues(self) -> dict[str, QueueState]:
        """Every queue's use and counts."""
        return self._views.queues()

    def snapshot(self) -> Snapshot:
        """Everything that decides, as one comparable value (slow: for tests and for doctors)."""
        return self._views.snapshot()
