"""Attempts of jobs and elements: begun as the engine decides, judged by the runtime's reports."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from gridloom_services.scheduler import outcome as judge
from gridloom_services.scheduler.clock import SECOND_US, now_us
from gridloom_services.scheduler.eligibility import asked_replicas
from gridloom_services.scheduler.engine import events
from gridloom_services.scheduler.job import (
    Elastic,
    GangEnd,
    Job,
    LiveGang,
    Outcome,
    StopOrder,
    gang_name,
)
from gridloom_services.scheduler.retry import can_grow, next_try
from gridloom_services.scheduler.runs import Run
from gridloom_services.scheduler.runtime.base import Assignment, Phase, ReplicaStatus
from gridloom_services.scheduler.states import FailureClass, JobState
from gridloom_services.scheduler.timers import Timer, TimerKind, Timers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gridloom_services.scheduler.board import Board, GangState
    from gridloom_services.scheduler.clock import Clock
    from gridloom_services.scheduler.eligibility import Eligibility
    from gridloom_services.scheduler.job import Tries
    from gridloom_services.scheduler.journal import Journal
    from gridloom_services.scheduler.ledger import Ledger
    from gridloom_services.scheduler.planner import Planner

DEFAULT_GRACE_S = 10.0


class Attempts:
    """Begins, grows, judges and ends gangs on board, journal and engine.

    The runtime is not told here: it is brought to what the journal says once that is on disk.
    """

    def __init__(
        self,
        board: Board,
        journal: Journal,
        ledger: Ledger,
        eligibility: Eligibility,
        planner: Planner,
        timers: Timers,
        clock: Clock,
    ) -> None:
        self._board = board
        self._journal = journal
        self._ledger = ledger
        self._eligibility = eligibility
        self._planner = planner
        self._timers = timers
        self._clock = clock
        self._reported: set[str] = set()

    # ---- after a restart

    def adopt(self, job: Job) -> None:
        """Tell the engine of what runs of a job, and let rest what was to be tried again later."""
        gangs = self._board.gangs_of(job)
        self._eligibility.resume(job, [gang.live.element for gang in gangs])
        for gang in gangs:
            self.occupy(job, gang.live, gang.live.starting_us // SECOND_US)
        for element, tries in self._board.tries_of(job):
            is_queued = self._board.state(job, element) is JobState.QUEUED
            if is_queued and tries.not_before_us > now_us(self._clock):
                self._rest(job, element, tries)

    # ---- the engine's decisions

    def begin(
        self, key: str, position: int, placement: Iterable[events.Assignment], at_s: int
    ) -> None:
        """Begin an attempt where the engine said."""
        job, element = self._eligibility.unit_of(key, position)
        if self._is_full(job):
            return
        placed = tuple(Assignment(a.role, a.index, a.node) for a in placement)
        attempt = self._board.tries(job, element).attempts + 1
        live = LiveGang(
            name=gang_name(job, element, attempt),
            sequence=job.sequence,
            job_id=job.id,
            element=element,
            attempt=attempt,
            placement=placed,
            starting_us=now_us(self._clock),
            elastic=_elastic(job, placed),
        )
        self.occupy(job, live, at_s)
        self._board.put_gang(live)
        self._journal.put_gang(live)
        if attempt > job.attempt:
            job = replace(job, attempt=attempt)
        self._move(job, element, JobState.STARTING, "", attempt)

    def _is_full(self, job: Job) -> bool:
        """Say whether an array runs as many elements as it may.

        The engine sees to that, but for elements with more memory, which it takes for others.
        """
        array = job.spec.array
        if array is None or not array.max_parallel or not self._board.grown(job):
            return False
        counts = self._board.runs[job.id].counts
        return counts[JobState.STARTING] + counts[JobState.RUNNING] >= array.max_parallel

    def occupy(self, job: Job, live: LiveGang, at_s: int) -> None:
        """Tell the engine that a gang is where it is."""
        key, position = self._eligibility.engine_key(job, live.element)
        placement = tuple(events.Assignment(a.role, a.index, a.node) for a in live.placement)
        # A gang with elastic roles asks for the rest of them once it has started.
        started = events.Started(key, position, placement, at_s)
        self._planner.apply(started, foreseen=not live.elastic)
        for role in job.spec.roles:
            elastic = live.elastic.get(role.name)
            if elastic is not None and elastic.wanted != asked_replicas(role, job.sizes):
                self._want(job, live, role.name, elastic.wanted)

    def _want(self, job: Job, live: LiveGang, role: str, replicas: int) -> None:
        key, position = self._eligibility.engine_key(job, live.element)
        self._board.sequence += 1
        self._planner.apply(
            events.ResizeRequested(key, role, replicas, self._board.sequence, position)
        )

    def grow(self, key: str, position: int, role: str, nodes: Iterable[str], at_s: int) -> None:
        """Add replicas of an elastic role on these nodes, each with an index never used before."""
        job, element = self._eligibility.unit_of(key, position)
        gang = self._board.units[job.sequence, element]
        live = gang.live
        elastic = live.elastic[role]
        added = tuple(
            Assignment(role, index, node) for index, node in enumerate(nodes, elastic.next_index)
        )
        self._planner.apply(
            events.Grown(
                key,
                position,
                role,
                tuple(events.Assignment(role, each.index, each.node) for each in added),
                at_s,
            ),
            foreseen=True,
        )
        grown = replace(elastic, next_index=elastic.next_index + len(added))
        self._put(
            gang,
            replace(
                live,
                placement=live.placement + added,
                elastic=MappingProxyType({**live.elastic, role: grown}),
            ),
        )

    def resize(
        self, job: Job, gang: GangState, role: str, wanted: int, surplus: tuple[int, ...]
    ) -> None:
        """Have a running gang's elastic role grow or shrink to this many replicas."""
        live = gang.live
        staying = sorted(each.index for each in live.staying(role))
        excess = max(len(staying) - wanted, 0)
        first = [index for index in surplus if index in staying]
        order = first + [index for index in reversed(staying) if index not in first]
        elastic = replace(live.elastic[role], wanted=wanted)
        self._want(job, live, role, wanted)
        self._put(
            gang,
            replace(
                live,
                leaving=live.leaving | {(role, index) for index in order[:excess]},
                elastic=MappingProxyType({**live.elastic, role: elastic}),
            ),
        )

    def _put(self, gang: GangState, live: LiveGang) -> None:
        gang.live = live
        self._journal.put_gang(live)

    # ---- orders

    def order_stop(self, gang: GangState, outcome: Outcome, grace_s: float) -> None:
        """Have a gang end. The first order decides what its end means."""
        if gang.live.stop is None:
            self._put(gang, replace(gang.live, stop=StopOrder(outcome, grace_s)))

    # ---- the runtime's reports

    def report(self, status: ReplicaStatus) -> bool:
        """Take note of a replica's status; False: no gang of that name should be there."""
        gang = self._board.gangs.get(status.gang)
        if gang is None:
            return False
        gang.statuses[status.role, status.index] = status
        if status.phase is not Phase.STARTING:
            self._reported.add(status.gang)
        return True

    def settle(self) -> None:
        """Draw the conclusions from everything reported since the last time."""
        reported, self._reported = self._reported, set()
        for name in sorted(reported):
            if name in self._board.gangs:
                self._judge(self._board.gangs[name])

    def _judge(self, gang: GangState) -> None:
        job = self._board.jobs[gang.live.job_id]
        roles = job.spec.roles
        if gang.live.stop is None:
            self._let_depart(job, gang)
        if judge.is_over(gang.live, gang.statuses):
            self.finish(gang, judge.final_outcome(gang.live, gang.statuses, roles))
            return
        failure = judge.first_failure(gang.live, gang.statuses, roles)
        if failure is not None:
            self.order_stop(gang, failure, DEFAULT_GRACE_S)
        state = self._board.state(job, gang.live.element)
        if state is JobState.STARTING and judge.is_running(gang.live, gang.statuses):
            at_us = _started_us(gang.statuses.values()) or now_us(self._clock)
            self._move(job, gang.live.element, JobState.RUNNING, "", gang.live.attempt, at_us)

    def _let_depart(self, job: Job, gang: GangState) -> None:
        """Free the places of elastic replicas that have left without harm."""
        for each in judge.departures(gang.live, gang.statuses, job.spec.roles):
            live = gang.live
            member = (each.role, each.index)
            elastic = live.elastic[each.role]
            if member not in live.leaving:
                elastic = replace(elastic, wanted=max(elastic.wanted - 1, 0))
                self._want(job, live, each.role, elastic.wanted)
            key, position = self._eligibility.engine_key(job, live.element)
            self._planner.apply(
                events.ReplicasEnded(key, position, each.role, each.node, (each.index,))
            )
            self._put(
                gang,
                replace(
                    live,
                    placement=tuple(one for one in live.placement if one != each),
                    leaving=live.leaving - {member},
                    elastic=MappingProxyType({**live.elastic, each.role: elastic}),
                ),
            )

    # ---- the end of an attempt

    def finish(self, gang: GangState, outcome: Outcome) -> None:
        """Record the end of a gang, and what it means for its job: a retry or the end."""
        live, statuses = gang.live, tuple(gang.statuses[key] for key in sorted(gang.statuses))
        job = self._board.jobs[live.job_id]
        key, position = self._eligibility.engine_key(job, live.element)
        end = _gang_end(job, live, outcome, statuses, now_us(self._clock))
        self._planner.apply(events.Ended(key, position, end.ended_us // SECOND_US))
        self._board.remove_gang(live)
        self._journal.end_gang(live, end)
        job = self._ledger.account(job, live.attempt, end.usage)
        tries = self._retry(job, live.element, outcome)
        if tries is None:
            self._conclude(job, live, end)
        else:
            self._try_again(job, live, outcome, tries)

    def _retry(self, job: Job, element: int, outcome: Outcome) -> Tries | None:
        if outcome.state is not JobState.FAILED:
            return None
        present_us = now_us(self._clock)
        if job.spec.deadline_us is not None and job.spec.deadline_us <= present_us:
            return None
        tries = self._board.tries(job, element)
        failure, room = outcome.failure_class, True
        if failure is FailureClass.OUT_OF_MEMORY:
            largest = self._eligibility.largest_memory()
            room = can_grow(job.spec.roles, tries.memory_factor, largest)
        return next_try(job.spec.retry, tries, failure, present_us, can_grow=room)

    def _conclude(self, job: Job, live: LiveGang, end: GangEnd) -> None:
        if not job.is_array:
            if job.started_us is None:
                job = replace(job, started_us=end.started_us)
            self._ledger.conclude(job, end.outcome, end.ended_us)
            return
        if end.outcome.state is JobState.FAILED:
            job = self._ledger.blame(job, live.element, end.outcome)
        self._ledger.move_elements(
            job, live.element, 1, end.outcome.state, end.outcome.reason, live.attempt
        )

    def _try_again(self, job: Job, live: LiveGang, outcome: Outcome, tries: Tries) -> None:
        element = live.element
        self._board.put_tries(job, element, tries)
        self._journal.put_tries(job, element, tries)
        pause_s = max(tries.not_before_us - now_us(self._clock), 0) / SECOND_US
        reason = f"{outcome.reason}; attempt {tries.attempts + 1} in {pause_s:g} s"
        self._rest(job, element, tries)
        self._move(job, element, JobState.QUEUED, reason, live.attempt)
        if not pause_s:
            self.awake(self._board.jobs[job.id], element)

    def _rest(self, job: Job, element: int, tries: Tries) -> None:
        self._board.resting[job.id].add(element)
        self._timers.set(tries.not_before_us, Timer(TimerKind.BACKOFF, job.id, element))

    def awake(self, job: Job, element: int) -> None:
        """Offer an element whose back-off is over."""
        resting = self._board.resting.get(job.id, set())
        if element in resting:
            resting.discard(element)
            state = self._board.state(job, element)
            if state is JobState.QUEUED:
                self._eligibility.offer(job, [Run(element, 1, state)])

    def _move(
        self,
        job: Job,
        element: int,
        state: JobState,
        reason: str,
        attempt: int,
        at_us: int | None = None,
    ) -> None:
        if job.is_array:
            self._board.put(job)
            self._ledger.move_elements(job, element, 1, state, reason, attempt)
        else:
            self._ledger.move(job, state, reason, at_us)


def _elastic(job: Job, placement: tuple[Assignment, ...]) -> Mapping[str, Elastic]:
    return MappingProxyType(
        {
            role.name: Elastic(
                wanted=job.sizes.get(role.name, role.replicas),
                next_index=1 + max(each.index for each in placement if each.role == role.name),
            )
            for role in job.spec.roles
            if role.elastic
        }
    )


def _started_us(statuses: Iterable[ReplicaStatus]) -> int | None:
    found = [status.started_at for status in statuses if status.started_at is not None]
    return round(min(found) * SECOND_US) if found else None


def _ended_us(statuses: Iterable[ReplicaStatus]) -> int | None:
    found = [status.ended_at for status in statuses if status.ended_at is not None]
    return round(max(found) * SECOND_US) if found else None


def _gang_end(
    job: Job,
    live: LiveGang,
    outcome: Outcome,
    statuses: tuple[ReplicaStatus, ...],
    present_us: int,
) -> GangEnd:
    return GangEnd(
        sequence=live.sequence,
        element=live.element,
        attempt=live.attempt,
        outcome=outcome,
        queued_us=job.queued_us or job.submitted_us,
        started_us=_started_us(statuses),
        ended_us=_ended_us(statuses) or present_us,
        usage=judge.usage_of(statuses),
        replicas=tuple(judge.replica_end(each) for each in statuses if each.phase is Phase.ENDED),
        outputs=judge.outputs_of(statuses),
    )
