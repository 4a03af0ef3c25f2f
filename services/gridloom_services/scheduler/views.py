"""Jobs and elements as they are shown: the record, with replicas and files beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gridloom.values import dataclass

from gridloom_services.scheduler import outcome as judge
from gridloom_services.scheduler.job import ONLY, Usage
from gridloom_services.scheduler.runs import RunLength
from gridloom_services.scheduler.runtime.base import Phase
from gridloom_services.scheduler.states import FailureClass, JobState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gridloom_services.scheduler.board import Board, GangState
    from gridloom_services.scheduler.commands import Target
    from gridloom_services.scheduler.job import GangEnd, GangOutput, Job, ReplicaEnd
    from gridloom_services.scheduler.store.base import Store

_STATES = {Phase.STARTING: JobState.STARTING, Phase.RUNNING: JobState.RUNNING}


@dataclass(frozen=True, slots=True)
class JobView:
    """A job, or one element of an array (its own number), as it is shown.

    `outputs` are pairs of an element's number (0 where there are no elements) and a file.
    """

    job: Job
    element: int | None = None
    replicas: tuple[ReplicaEnd, ...] = ()
    outputs: tuple[tuple[int, GangOutput], ...] = ()


class Views:
    """Puts together what memory and store know.

    What it shows of a live job may be ahead of the disk by the commit that is under way.
    """

    def __init__(self, board: Board, store: Store) -> None:
        self._board = board
        self._store = store

    async def of(self, targets: Sequence[Target]) -> list[JobView]:
        """Return the views of jobs and elements, in their order."""
        whole = [target.job for target in targets if target.element is None]
        ends = await self._last_ends(whole)
        found = []
        for target in targets:
            if target.element is not None:
                found.append(await self._element(target.job, target.element))
            elif target.job.is_array:
                found.append(JobView(target.job, outputs=await self._array_outputs(target.job)))
            else:
                found.append(self._plain(target.job, ends.get(target.job.sequence)))
        return found

    async def listed(self, jobs: Sequence[Job]) -> list[JobView]:
        """Return the views of jobs in a list: of arrays without the elements' files."""
        ends = await self._last_ends(jobs)
        return [self._plain(job, ends.get(job.sequence)) for job in jobs]

    async def _last_ends(self, jobs: Iterable[Job]) -> dict[int, GangEnd]:
        over = {job.sequence for job in jobs if job.state.is_final and not job.is_array}
        return await self._store.last_ends(frozenset(over)) if over else {}

    def _plain(self, job: Job, end: GangEnd | None) -> JobView:
        if end is not None:
            outputs = tuple((0, output) for output in end.outputs)
            return JobView(job, replicas=end.replicas, outputs=outputs)
        gang = None if job.is_array else self._board.units.get((job.sequence, ONLY))
        return JobView(job, replicas=live_replicas(gang) if gang else ())

    async def _array_outputs(self, job: Job) -> tuple[tuple[int, GangOutput], ...]:
        array = job.spec.array
        if array is None or not any(role.outputs for role in job.spec.roles):
            return ()
        last = {end.element: end for end in await self._store.ends(job.sequence)}
        return tuple(
            (array.number(element), output)
            for element, end in last.items()
            for output in end.outputs
        )

    async def _element(self, job: Job, element: int) -> JobView:
        """Show one element as if it were a job of its own."""
        assert job.spec.array is not None
        number = job.spec.array.number(element)
        ends = await self._store.ends(job.sequence, element)
        gang = self._board.units.get((job.sequence, element))
        state = RunLength(job.runs)[element]
        shown = _shown_element(replace(job, state=state), ends)
        if state.is_active and gang is not None:
            shown = replace(shown, attempt=gang.live.attempt, started_us=_started_us(gang))
            return JobView(shown, number, live_replicas(gang))
        if not ends:
            return JobView(shown, number)
        outputs = tuple((number, output) for output in ends[-1].outputs)
        return JobView(shown, number, ends[-1].replicas, outputs)


def _shown_element(job: Job, ends: list[GangEnd]) -> Job:
    blank = replace(
        job,
        attempt=len(ends),
        started_us=None,
        ended_us=None,
        reason="",
        failure_class=FailureClass.NONE,
        exit_code=0,
        signal=0,
        usage=sum((end.usage for end in ends), start=Usage()),
    )
    if not job.state.is_final:
        return blank
    if not ends or ends[-1].outcome.state is not job.state:
        # It ended before another attempt began: with its array, or by itself.
        return replace(
            blank, ended_us=job.ended_us, reason=job.reason, failure_class=job.failure_class
        )
    last = ends[-1]
    return replace(
        blank,
        started_us=last.started_us,
        ended_us=last.ended_us,
        reason=last.outcome.reason,
        failure_class=last.outcome.failure_class,
        exit_code=last.outcome.exit_code,
        signal=last.outcome.signal,
    )


def _started_us(gang: GangState) -> int | None:
    times = [each.started_at for each in gang.statuses.values() if each.started_at is not None]
    return round(min(times) * 1_000_000) if times else None


def live_replicas(gang: GangState) -> tuple[ReplicaEnd, ...]:
    """Return a live gang's replicas as they are now, departed ones included."""
    found = []
    for _, status in sorted(gang.statuses.items()):
        record = judge.replica_end(status)
        if status.phase is not Phase.ENDED:
            record = replace(record, state=_STATES[status.phase], exit_code=0)
        found.append(record)
    return tuple(found)
