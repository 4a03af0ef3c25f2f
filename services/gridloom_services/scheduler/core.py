"""The scheduler's mind: everything in memory, made from the store, changed by one call at a time.

Nothing here waits, reads a file or talks to anybody. What happens is put in, what follows is in the
journal afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom_services.scheduler.attempts import Attempts
from gridloom_services.scheduler.board import Board
from gridloom_services.scheduler.clock import now_us
from gridloom_services.scheduler.commands import Commands
from gridloom_services.scheduler.eligibility import Eligibility
from gridloom_services.scheduler.engine import Engine, events
from gridloom_services.scheduler.fitness import Fitness
from gridloom_services.scheduler.intake import Intake
from gridloom_services.scheduler.job import Outcome
from gridloom_services.scheduler.journal import Journal
from gridloom_services.scheduler.ledger import Ledger
from gridloom_services.scheduler.planner import Planner
from gridloom_services.scheduler.projects import Projects
from gridloom_services.scheduler.queues import Queues
from gridloom_services.scheduler.states import FailureClass, JobState
from gridloom_services.scheduler.timers import Timer, TimerKind, Timers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gridloom_services.scheduler.clock import Clock
    from gridloom_services.scheduler.runtime.base import Feature, NodeCapacity
    from gridloom_services.scheduler.store.base import Contents

DEADLINE_GRACE_S = 10.0


class Core:
    """All parts of the domain, composed, and the order in which they act."""

    def __init__(
        self,
        contents: Contents,
        clock: Clock,
        features: frozenset[Feature],
        on_change: Callable[[], None],
        *,
        spare_devices: bool = True,
    ) -> None:
        self._clock = clock
        self._contents = contents
        self.board = Board(contents)
        self.journal = Journal(self.board, on_change)
        self.timers = Timers()
        self.engine = Engine(spare_devices=spare_devices)
        self.planner = Planner(self.engine, self.journal)
        self.ledger = Ledger(self.board, self.journal, clock)
        self.eligibility = Eligibility(self.board, self.planner, self.ledger, self.timers, clock)
        self.attempts = Attempts(
            self.board,
            self.journal,
            self.ledger,
            self.eligibility,
            self.planner,
            self.timers,
            clock,
        )
        self.commands = Commands(self.board, self.ledger, self.eligibility, self.attempts)
        self.fitness = Fitness(self.engine, features)
        self.intake = Intake(self.board, self.ledger, self.eligibility, self.fitness, clock)
        self.queues = Queues(self.board, self.journal, self.planner)
        self.projects = Projects(self.board, self.journal, self.planner, self.queues)
        self._planned_s = 0

    # ---- the beginning

    def awaited(self) -> frozenset[str]:
        """Return the jobs that live ones wait for and that are over, to be looked up."""
        found = {
            dependency.job_id
            for job in self.board.jobs.values()
            for dependency in job.spec.dependencies
        }
        return frozenset(found - self.board.jobs.keys())

    def rebuild(self, nodes: Iterable[NodeCapacity], ended: Mapping[str, JobState]) -> None:
        """Tell the engine everything that the store says; nothing is planned yet."""
        self.queues.begin()
        self.projects.begin()
        self.nodes_are(nodes)
        for job in list(self.board.jobs.values()):
            self.attempts.adopt(job)
        for job in list(self.board.jobs.values()):
            self.eligibility.enter(job, ended)
        self.eligibility.settle()
        for promise in self._contents.promises:
            self.planner.keep_promise(promise)

    def nodes_are(self, nodes: Iterable[NodeCapacity]) -> None:
        """Tell the engine of the nodes that there are now."""
        known = {
            node.name: (node.capacity, node.labels, node.schedulable)
            for node in self.engine.nodes()
        }
        nodes = tuple(nodes)
        for gone in known.keys() - {node.name for node in nodes}:
            self.planner.apply(events.NodeRemoved(gone))
        for node in nodes:
            if known.get(node.name) != (node.capacity, node.labels, node.schedulable):
                self.planner.apply(
                    events.NodeSet(node.name, node.capacity, node.labels, node.schedulable)
                )
        self.fitness.nodes_are(nodes)

    # ---- one step

    def advance(self) -> None:
        """Draw all conclusions from what has happened and from the time."""
        for timer in self.timers.due(now_us(self._clock)):
            self._ring(timer)
        self.attempts.settle()
        self.eligibility.settle()
        if self.planner.pause_s() == 0.0:
            self._plan()
            self.eligibility.settle()

    def _ring(self, timer: Timer) -> None:
        job = self.board.jobs.get(timer.job_id)
        if job is None:
            return
        match timer.kind:
            case TimerKind.START_AFTER:
                self.eligibility.offer(job, self.board.waiting(job, JobState.QUEUED))
            case TimerKind.BACKOFF:
                self.attempts.awake(job, timer.element)
            case TimerKind.DEADLINE:
                self.commands.expire(job, DEADLINE_GRACE_S)

    def _plan(self) -> None:
        self._planned_s = max(int(self._clock.now()), self._planned_s)
        now_s = self._planned_s
        decisions = self.planner.plan(now_s)
        for drop in decisions.drops:
            self.planner.apply(events.PromiseDropped(drop.job, drop.element), foreseen=True)
        for start in decisions.starts:
            self.attempts.begin(start.job, start.element, start.placement, now_s)
        for grow in decisions.grows:
            nodes = [each.node for each in grow.assignments]
            self.attempts.grow(grow.job, grow.element, grow.role, nodes, now_s)
        for made in decisions.promises:
            self.planner.promise(
                events.Promised(made.job, made.element, made.start, made.placement)
            )

    # ---- what the runtime could not do

    def never_began(self, name: str) -> None:
        """End a gang that was ordered to stop before its start was begun."""
        gang = self.board.gangs.get(name)
        if gang is not None and gang.live.stop is not None:
            self.attempts.finish(gang, gang.live.stop.outcome)

    def start_failed(self, name: str, reason: str) -> None:
        """End a gang that the runtime cannot start or has lost."""
        gang = self.board.gangs.get(name)
        if gang is not None:
            failure = Outcome(JobState.FAILED, FailureClass.NODE_LOST, -1, 0, reason)
            self.attempts.finish(gang, gang.live.stop.outcome if gang.live.stop else failure)
