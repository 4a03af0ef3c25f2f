"""Every change of a job's state is made here: on the board, in the journal, in its history."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from gridloom.values import replace

from gridloom_services.scheduler.clock import now_us
from gridloom_services.scheduler.job import Event, Job, Outcome, Usage, element_id
from gridloom_services.scheduler.states import FailureClass, JobState, check_transition

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gridloom_services.scheduler.board import Board
    from gridloom_services.scheduler.clock import Clock
    from gridloom_services.scheduler.journal import Journal
    from gridloom_services.scheduler.runs import Run


class Ledger:
    """Changes states; board and journal agree after each call.

    An array's own state follows from its elements': it starts and runs with the first of them and
    is over with the last. `over` collects the jobs that have become final, for whoever waits for
    them.
    """

    def __init__(self, board: Board, journal: Journal, clock: Clock) -> None:
        self._board = board
        self._journal = journal
        self._clock = clock
        self.over: deque[Job] = deque()

    # ---- whole jobs

    def add(self, job: Job) -> Job:
        """Record a new job, with its reason; it may be final already."""
        revision = self._event(job, None, job.state, job.reason)
        job = replace(job, revision=revision)
        self._board.put(job)
        self._journal.put_job(job, new=True)
        if job.state.is_final:
            self.over.append(job)
        return job

    def move(self, job: Job, state: JobState, reason: str, at_us: int | None = None) -> Job:
        """Record a job's new state, which is not final."""
        at_us = now_us(self._clock) if at_us is None else at_us
        return self._record(job, job.moved(state, reason, at_us))

    def conclude(self, job: Job, outcome: Outcome, at_us: int | None = None) -> Job:
        """Record a job's end; it leaves the board."""
        at_us = now_us(self._clock) if at_us is None else at_us
        return self._record(job, job.concluded(outcome, at_us))

    def note(self, job: Job, reason: str) -> Job:
        """Record a new reason in an unchanged state."""
        return self._record(job, replace(job, reason=reason))

    def _record(self, before: Job, after: Job) -> Job:
        revision = self._event(after, before.state, after.state, after.reason)
        runs = self._board.runs[after.id].runs() if after.is_array else ()
        after = replace(after, revision=revision, runs=runs)
        self._board.put(after)
        self._journal.put_job(after)
        if after.state.is_final:
            self.over.append(after)
        return after

    def _event(
        self,
        job: Job,
        before: JobState | None,
        after: JobState,
        reason: str,
        *,
        element: int | None = None,
        count: int = 1,
        attempt: int | None = None,
    ) -> int:
        return self._journal.put_event(
            Event(
                revision=self._board.revision + 1,
                sequence=job.sequence,
                job_id=job.id,
                at_us=now_us(self._clock),
                before=before,
                after=after,
                attempt=job.attempt if attempt is None else attempt,
                reason=reason,
                element=element,
                count=count,
            )
        )

    # ---- elements of arrays

    def move_elements(
        self, job: Job, first: int, count: int, state: JobState, reason: str, attempt: int = 0
    ) -> Job:
        """Record a new state of neighbouring elements, and what it means for their array."""
        runs = self._board.runs[job.id]
        for run in list(runs.slice(first, first + count)):
            check_transition(run.state, state)
            revision = self._event(
                job,
                run.state,
                state,
                reason,
                element=run.first,
                count=run.count,
                attempt=attempt,
            )
            self._journal.touch_array(job, revision)
        runs.set(first, state, count)
        return self._sum_up(job)

    def end_waiting(self, job: Job, runs: Iterable[Run], outcome: Outcome) -> Job:
        """Record the end of elements (or of a job that is no array) that have not started."""
        if not job.is_array:
            return self.conclude(job, outcome)
        runs = list(runs)
        counts = self._board.runs[job.id].counts
        waiting = counts[JobState.HELD] + counts[JobState.QUEUED]
        if sum(run.count for run in runs) == waiting and not job.failure_class:
            job = replace(job, reason=outcome.reason)
        for run in runs:
            if outcome.state is JobState.FAILED:
                job = self.blame(job, run.first, outcome)
            job = self.move_elements(job, run.first, run.count, outcome.state, outcome.reason)
        return job

    def account(self, job: Job, attempt: int, usage: Usage) -> Job:
        """Add what an element's attempt has used; written with the array's next change."""
        job = replace(job, attempt=max(job.attempt, attempt), usage=job.usage + usage)
        self._board.put(job)
        return job

    def blame(self, job: Job, element: int, outcome: Outcome) -> Job:
        """Have an array answer with its first failed element's outcome."""
        if job.failure_class is not FailureClass.NONE:
            return job
        job = replace(
            job,
            failure_class=outcome.failure_class,
            exit_code=outcome.exit_code,
            signal=outcome.signal,
            reason=f"{element_id(job, element)}: {outcome.reason}",
        )
        self._board.put(job)
        return job

    def _sum_up(self, job: Job) -> Job:
        """Bring an array to the state that follows from its elements'."""
        counts = self._board.runs[job.id].counts
        while (state := array_state(job.state, counts)) is not job.state:
            if state.is_final:
                return self.conclude(job, _array_outcome(job, state, counts))
            job = self.move(job, state, job.reason)
        return job


def array_state(now: JobState, counts: Counter[JobState]) -> JobState:
    """Return the next state of an array on the way to the one that its elements give it.

    Once an element has run it is RUNNING until the last is over, whatever waits in between.
    """
    pending = counts[JobState.HELD] + counts[JobState.QUEUED]
    active = counts[JobState.STARTING] + counts[JobState.RUNNING]
    if not pending and not active:
        return _final_state(counts)
    if now is JobState.RUNNING:
        return now
    ran = counts[JobState.SUCCEEDED] + counts[JobState.FAILED]
    if counts[JobState.RUNNING] or (now is JobState.STARTING and ran):
        return JobState.RUNNING
    if active:
        return JobState.STARTING
    if now is JobState.STARTING or counts[JobState.QUEUED]:
        return JobState.QUEUED
    return JobState.HELD


def _final_state(counts: Counter[JobState]) -> JobState:
    for state in (JobState.FAILED, JobState.CANCELLED):
        if counts[state]:
            return state
    return JobState.SUCCEEDED


def _array_outcome(job: Job, state: JobState, counts: Counter[JobState]) -> Outcome:
    size = sum(counts.values())
    failed, cancelled = counts[JobState.FAILED], counts[JobState.CANCELLED]
    if state is JobState.SUCCEEDED:
        return Outcome()
    if state is JobState.CANCELLED:
        reason = job.reason or f"{cancelled} of {size} elements were cancelled"
        return Outcome(state, FailureClass.CANCELLED, reason=reason)
    reason = f"{failed} of {size} elements failed; the first was {job.reason}"
    return Outcome(state, job.failure_class, job.exit_code, job.signal, reason)
