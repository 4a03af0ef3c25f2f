"""How jobs come in: checked as a whole, then accepted as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gridloom.ids import new_id
from gridloom.values import dataclass, replace

from gridloom_services.common.errors import ConflictError, InvalidRequestError
from gridloom_services.scheduler.clock import now_us
from gridloom_services.scheduler.job import Job
from gridloom_services.scheduler.runs import Run
from gridloom_services.scheduler.states import JobState
from gridloom_services.scheduler.validation import SpecChecks, refuse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gridloom_services.scheduler.board import Board
    from gridloom_services.scheduler.clock import Clock
    from gridloom_services.scheduler.eligibility import Eligibility
    from gridloom_services.scheduler.fitness import Fitness
    from gridloom_services.scheduler.ledger import Ledger
    from gridloom_services.scheduler.queue import Queue
    from gridloom_services.scheduler.spec import Dependency, JobSpec

MAX_BATCH = 10_000

# Ids of jobs by project and request id.
Ids = Mapping[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class Submission:
    """What one request asks to be accepted, all or none."""

    specs: tuple[JobSpec, ...]
    owner: str
    validate_only: bool = False
    retry_of: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """Jobs found in the store: those that the same requests made, and those depended upon."""

    by_request: Mapping[tuple[str, str], Job]
    by_id: Mapping[str, Job]


def request_keys(specs: Iterable[JobSpec]) -> dict[str, set[str]]:
    """Return the request ids of a batch, by project."""
    keys: dict[str, set[str]] = {}
    for spec in specs:
        if spec.request_id:
            keys.setdefault(spec.project, set()).add(spec.request_id)
    return keys


def dependency_ids(specs: Iterable[JobSpec]) -> frozenset[str]:
    """Return everything that the jobs of a batch wait for: ids, and request ids of the batch."""
    return frozenset(each.job_id for spec in specs for each in spec.dependencies)


class Intake:
    """Checks submissions against queues, nodes and each other, and accepts them."""

    def __init__(
        self,
        board: Board,
        ledger: Ledger,
        eligibility: Eligibility,
        fitness: Fitness,
        clock: Clock,
    ) -> None:
        self._board = board
        self._ledger = ledger
        self._eligibility = eligibility
        self._fitness = fitness
        self._clock = clock

    def accept(self, submission: Submission, known: Known) -> list[Job]:
        """Accept a batch, or refuse all of it; nothing is on disk yet when this returns.

        What the same request made before is returned as it is.
        """
        specs = submission.specs
        if not 1 <= len(specs) <= MAX_BATCH:
            refuse("jobs", f"{len(specs)} of them", f"from 1 to {MAX_BATCH} in a request")
        _check_request_ids(specs)
        found = [self._existing(spec, known) for spec in specs]
        ids = _ids(specs, found)
        resolved = [_resolved(spec, ids) for spec in specs]
        batch = frozenset(ids.values())
        checks = SpecChecks(now_us(self._clock))
        for index, (spec, job) in enumerate(zip(resolved, found, strict=True)):
            at = f"jobs[{index}]." if len(specs) > 1 else ""
            if job is None:
                checks.check(spec, at)
                self._check(spec, known, batch, at)
            elif job.spec != spec:
                raise _conflict(spec, job, at)
        check_acyclic(resolved, ids)
        made = [
            job or self._job(spec, ids.get((spec.project, spec.request_id)), submission)
            for spec, job in zip(resolved, found, strict=True)
        ]
        if submission.validate_only:
            return [replace(job, id="", sequence=0) for job in made]
        self._enter([job for job, old in zip(made, found, strict=True) if old is None], known)
        return [self._board.jobs.get(job.id, job) for job in made]

    def _existing(self, spec: JobSpec, known: Known) -> Job | None:
        if not spec.request_id:
            return None
        live = self._board.requests.get((spec.project, spec.request_id))
        if live is not None:
            return self._board.jobs[live]
        return known.by_request.get((spec.project, spec.request_id))

    # ---- checks

    def _check(self, spec: JobSpec, known: Known, batch: frozenset[str], at: str) -> None:
        queue = self._queue(spec, at)
        if queue.closed:
            refuse(f"{at}queue", spec.queue, f"that queue is closed; {self._open_queues(spec)}")
        if (spec.time_limit_s or 0) > queue.longest_s:
            refuse(
                f"{at}time_limit",
                f"{spec.time_limit_s} s",
                f'at most {queue.longest_s} s in queue "{queue.name}"',
            )
        self._fitness.check(spec, queue, at)
        for index, dependency in enumerate(spec.dependencies):
            self._check_dependency(spec, dependency, known, batch, f"{at}dependencies[{index}]")
        if len({each.job_id for each in spec.dependencies}) < len(spec.dependencies):
            refuse(f"{at}dependencies", "the same job twice", "each job once")

    def _queue(self, spec: JobSpec, at: str) -> Queue:
        found = self._board.queues.get(f"{spec.project}/{spec.queue}")
        if found is not None:
            return found
        projects = sorted({queue.project for queue in self._board.queues.values()})
        if spec.project not in projects:
            raise InvalidRequestError(
                f'project "{spec.project}" does not exist; projects: {", ".join(projects)}',
                field=f"{at}project",
                given=spec.project,
                allowed=", ".join(projects),
            )
        names = self._queues_of(spec.project)
        raise InvalidRequestError(
            f'queue "{spec.queue}" does not exist; queues of project "{spec.project}": {names}',
            field=f"{at}queue",
            given=spec.queue,
            allowed=names,
        )

    def _queues_of(self, project: str) -> str:
        return ", ".join(
            sorted(q.name for q in self._board.queues.values() if q.project == project)
        )

    def _open_queues(self, spec: JobSpec) -> str:
        queues = self._board.queues.values()
        names = sorted(q.name for q in queues if q.project == spec.project and not q.closed)
        return f"open ones of project {spec.project}: {', '.join(names) or 'none'}"

    def _check_dependency(
        self, spec: JobSpec, dependency: Dependency, known: Known, batch: frozenset[str], at: str
    ) -> None:
        job_id = dependency.job_id
        if job_id in batch:
            return
        job = self._board.jobs.get(job_id) or known.by_id.get(job_id)
        if job is None or job.spec.project != spec.project:
            allowed = f'jobs of project "{spec.project}", or request ids of the same batch'
            if "." in job_id:
                allowed += "; for an element of an array name the array"
            raise InvalidRequestError(
                f'{at}: there is no job "{job_id}" to wait for; {allowed}',
                field=f"{at}.job_id",
                given=job_id,
                allowed=allowed,
            )

    # ---- acceptance

    def _job(self, spec: JobSpec, job_id: str | None, submission: Submission) -> Job:
        present_us = now_us(self._clock)
        queue = self._board.queues[f"{spec.project}/{spec.queue}"]
        state = JobState.HELD if spec.hold else JobState.QUEUED
        self._board.sequence += 1
        return Job(
            sequence=self._board.sequence,
            id=job_id or new_id("job"),
            spec=spec,
            owner=submission.owner,
            state=state,
            submitted_us=present_us,
            time_limit_s=spec.time_limit_s or queue.default_time_limit_s,
            queued_us=None if spec.hold else present_us,
            reason="held" if spec.hold else "",
            retry_of=submission.retry_of,
            runs=() if spec.array is None else (Run(0, spec.array.size, state),),
        )

    def _enter(self, jobs: list[Job], known: Known) -> None:
        added = [self._ledger.add(job) for job in jobs]
        ended = {job_id: job.state for job_id, job in known.by_id.items()}
        for job in added:
            self._eligibility.enter(job, ended)


def _check_request_ids(specs: Sequence[JobSpec]) -> None:
    seen = set()
    for index, spec in enumerate(specs):
        key = (spec.project, spec.request_id)
        if spec.request_id and key in seen:
            refuse(f"jobs[{index}].request_id", spec.request_id, "each job of a batch its own")
        seen.add(key)


def _ids(specs: Sequence[JobSpec], found: Sequence[Job | None]) -> dict[tuple[str, str], str]:
    """Return the id of each job that has a request id: its own, or the one that it will have."""
    return {
        (spec.project, spec.request_id): new_id("job") if job is None else job.id
        for spec, job in zip(specs, found, strict=True)
        if spec.request_id
    }


def _resolved(spec: JobSpec, ids: Ids) -> JobSpec:
    """Return the specification with ids for the request ids of its batch (and project)."""
    if not spec.dependencies or not any(
        (spec.project, each.job_id) in ids for each in spec.dependencies
    ):
        return spec
    return replace(
        spec,
        dependencies=tuple(
            replace(each, job_id=ids.get((spec.project, each.job_id), each.job_id))
            for each in spec.dependencies
        ),
    )


def _conflict(spec: JobSpec, job: Job, at: str) -> ConflictError:
    return ConflictError(
        f'request "{spec.request_id}" made {job.id} of another specification;'
        " give a new request its own id",
        field=f"{at}request_id",
        given=spec.request_id,
        allowed="the same specification, or a new id",
        job_id=job.id,
    )


def check_acyclic(specs: Iterable[JobSpec], ids: Ids) -> None:
    """Refuse a batch whose jobs wait for each other in a circle, and name the circle."""
    names = {job_id: request_id for (_, request_id), job_id in ids.items()}
    waits = {
        ids[spec.project, spec.request_id]: {
            d.job_id for d in spec.dependencies if d.job_id in names
        }
        for spec in specs
        if spec.request_id
    }
    followers: dict[str, list[str]] = {}
    for job_id, awaited in waits.items():
        for each in awaited:
            followers.setdefault(each, []).append(job_id)
    free = [job_id for job_id, awaited in waits.items() if not awaited]
    while free:
        done = free.pop()
        del waits[done]
        for job_id in followers.get(done, ()):
            waits[job_id].discard(done)
            if not waits[job_id]:
                free.append(job_id)
    if waits:
        raise _cycle([names[job_id] for job_id in _circle(waits)])


def _circle(waits: Mapping[str, set[str]]) -> list[str]:
    """Return one circle of jobs of which each waits for at least one of them."""
    seen: dict[str, None] = {}
    job_id = min(waits)
    while job_id not in seen:
        seen[job_id] = None
        job_id = min(waits[job_id])
    path = list(seen)
    return path[path.index(job_id) :]


def _cycle(members: list[str]) -> InvalidRequestError:
    circle = " -> ".join([*members, members[0]])
    return InvalidRequestError(
        f"these jobs wait for each other in a circle: {circle}",
        field="dependencies",
        given=circle,
        allowed="dependencies without a circle",
    )
