"""What users ask of jobs that are there: cancel, hold, release, resize; and what deadlines do."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from gridloom.values import dataclass

from gridloom_services.common.errors import ConflictError, InvalidRequestError, NotFoundError
from gridloom_services.scheduler.job import Job, Outcome, element_id
from gridloom_services.scheduler.runs import Run, RunLength
from gridloom_services.scheduler.spec import ArraySpec, Range
from gridloom_services.scheduler.states import FailureClass, JobState
from gridloom_services.scheduler.validation import MAX_REPLICAS, refuse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gridloom_services.scheduler.attempts import Attempts
    from gridloom_services.scheduler.board import Board, GangState
    from gridloom_services.scheduler.eligibility import Eligibility
    from gridloom_services.scheduler.ledger import Ledger
    from gridloom_services.scheduler.spec import JobSpec


@dataclass(frozen=True, slots=True)
class Target:
    """A job, or one element of an array."""

    job: Job
    element: int | None = None

    @property
    def id(self) -> str:
        """How users call it."""
        return self.job.id if self.element is None else element_id(self.job, self.element)


def split_id(identifier: str) -> tuple[str, int | None]:
    """Return the job's id and, of "job_x.7", the element's number; NotFoundError if malformed."""
    job_id, dot, number = identifier.partition(".")
    if not dot:
        return job_id, None
    if not number.isascii() or not number.isdecimal():
        raise NotFoundError(
            f'there is no job "{identifier}"', field="job_id", given=identifier, allowed="job_x.7"
        )
    return job_id, int(number)


def target_of(identifier: str, job: Job | None) -> Target:
    """Return what an id means; NotFoundError where there is no such job or element."""
    _, number = split_id(identifier)
    if job is None:
        raise NotFoundError(f'there is no job "{identifier}"', field="job_id", given=identifier)
    if number is None:
        return Target(job)
    element = None if job.spec.array is None else job.spec.array.position(number)
    if element is None:
        raise NotFoundError(f"{job.id} has no element {number}", field="job_id", given=identifier)
    return Target(job, element)


def retried_spec(target: Target, request_id: str) -> JobSpec:
    """Return the specification of a job that is over, to be submitted anew.

    Of an element of an array, an array with that element only.
    """
    job = target.job
    state = job.state
    if target.element is not None and job.spec.array is not None:
        state = RunLength(job.runs)[target.element]
    if not state.is_final:
        raise ConflictError(
            f"{target.id} is {state.name}; only what is over can be tried again",
            field="job_id",
            given=target.id,
        )
    spec = replace(job.spec, request_id=request_id, hold=False)
    if target.element is None or spec.array is None:
        return spec
    number = spec.array.number(target.element)
    return replace(spec, array=ArraySpec((Range(number, number),)))


class Commands:
    """Carries out what is asked. All checks come before the first change."""

    def __init__(
        self, board: Board, ledger: Ledger, eligibility: Eligibility, attempts: Attempts
    ) -> None:
        self._board = board
        self._ledger = ledger
        self._eligibility = eligibility
        self._attempts = attempts

    # ---- ends

    def cancel(self, target: Target, reason: str, grace_s: float) -> None:
        """Cancel what waits, and order what runs to stop. What is over stays as it is."""
        outcome = Outcome(JobState.CANCELLED, FailureClass.CANCELLED, reason=reason)
        gangs = self._gangs(target)
        self._end_waiting(target, outcome)
        self._stop(gangs, outcome, grace_s, f"being cancelled: {reason}")

    def expire(self, job: Job, grace_s: float) -> None:
        """Do what a deadline asks for: nothing more starts, what runs stops."""
        late = "its deadline passed before it could start"
        waiting = Outcome(JobState.FAILED, FailureClass.TIME_LIMIT, reason=late)
        running = replace(waiting, reason="stopped at its deadline")
        target = Target(job)
        gangs = self._gangs(target)
        self._end_waiting(target, waiting)
        self._stop(gangs, running, grace_s, running.reason)

    def _end_waiting(self, target: Target, outcome: Outcome) -> None:
        runs = self._chosen(target, JobState.HELD, JobState.QUEUED)
        if runs:
            job = self._board.jobs[target.job.id]
            self._eligibility.withdraw(job, runs, whole=target.element is None)
            self._ledger.end_waiting(job, runs, outcome)

    def _stop(self, gangs: list[GangState], outcome: Outcome, grace_s: float, note: str) -> None:
        fresh = [gang for gang in gangs if gang.live.stop is None]
        for gang in fresh:
            self._attempts.order_stop(gang, outcome, grace_s)
        if fresh:
            self._ledger.note(self._board.jobs[fresh[0].live.job_id], note)

    def _gangs(self, target: Target) -> list[GangState]:
        if target.job.id not in self._board.jobs:
            return []
        if target.element is None:
            return self._board.gangs_of(target.job)
        found = self._board.units.get((target.job.sequence, target.element))
        return [found] if found else []

    def _chosen(self, target: Target, *states: JobState) -> list[Run]:
        """Return the target's elements that are in these states."""
        if target.job.id not in self._board.jobs:
            return []
        runs = self._board.waiting(self._board.jobs[target.job.id], *states)
        if target.element is None:
            return runs
        return [
            Run(target.element, 1, run.state)
            for run in runs
            if run.first <= target.element < run.end
        ]

    # ---- hold and release

    def check_waits(self, target: Target, verb: str) -> None:
        """Refuse what can only be done to what waits ("held", "released")."""
        if self._chosen(target, JobState.HELD, JobState.QUEUED):
            return
        job = self._board.jobs.get(target.job.id, target.job)
        state = job.state
        if target.element is not None and job.id in self._board.jobs:
            state = self._board.state(job, target.element)
        raise ConflictError(
            f"{target.id} is {state.name}; only what waits can be {verb}",
            field="job_ids",
            given=target.id,
            allowed="QUEUED, HELD",
        )

    def hold(self, target: Target) -> None:
        """Keep what waits from starting."""
        runs = self._chosen(target, JobState.QUEUED)
        if runs:
            job = self._board.jobs[target.job.id]
            self._eligibility.withdraw(job, runs, whole=target.element is None)
            self._move(job, runs, JobState.HELD, "held")

    def release(self, target: Target) -> None:
        """Let what is held wait for its start again."""
        runs = self._chosen(target, JobState.HELD)
        if runs:
            self._move(self._board.jobs[target.job.id], runs, JobState.QUEUED, "released")
            self._eligibility.offer(self._board.jobs[target.job.id], runs)

    def _move(self, job: Job, runs: Iterable[Run], state: JobState, reason: str) -> None:
        for run in runs:
            if job.is_array:
                job = self._ledger.move_elements(job, run.first, run.count, state, reason)
            else:
                job = self._ledger.move(job, state, reason)

    # ---- size

    def resize(self, job: Job, role_name: str, replicas: int, surplus: tuple[int, ...]) -> None:
        """Change how many replicas of an elastic role are wanted."""
        job = self._resizable(job)
        role = job.spec.role(role_name)
        if role is None or not role.elastic:
            elastic = ", ".join(each.name for each in job.spec.roles if each.elastic)
            refuse("role", role_name, f"elastic roles of {job.id}: {elastic or 'none'}")
        if not role.min_replicas <= replicas <= MAX_REPLICAS:
            refuse("replicas", replicas, f"from {role.min_replicas} to {MAX_REPLICAS}")
        waiting = self._board.waiting(job, JobState.QUEUED)
        self._eligibility.withdraw(job, waiting)
        sizes = MappingProxyType({**job.sizes, role_name: replicas})
        job = self._ledger.note(
            replace(job, sizes=sizes), f"{replicas} replicas of {role_name} wanted"
        )
        self._eligibility.offer(job, waiting)
        for gang in self._board.gangs_of(job):
            self._attempts.resize(job, gang, role_name, replicas, surplus)

    def _resizable(self, job: Job) -> Job:
        if job.is_array:
            raise InvalidRequestError("an array cannot be resized", field="job_id", given=job.id)
        live = self._board.jobs.get(job.id)
        if live is None:
            raise ConflictError(f"{job.id} is over: {job.state.name}", field="job_id", given=job.id)
        if any(gang.live.stop for gang in self._board.gangs_of(live)):
            raise ConflictError(f"{job.id} is being stopped", field="job_id", given=job.id)
        return live
