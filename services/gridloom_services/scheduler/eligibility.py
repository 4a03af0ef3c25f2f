"""Which waiting work the engine may plan, and why the rest may not be planned yet.

The engine is given only what could start at once if there were room: holds, dependencies, start
times and back-offs are kept here.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from operator import attrgetter
from typing import TYPE_CHECKING

from gridloom.values import dataclass

from gridloom_services.scheduler.clock import now_us
from gridloom_services.scheduler.engine import events
from gridloom_services.scheduler.job import ONLY, Job, Outcome, element_id
from gridloom_services.scheduler.retry import MEMORY, grown_roles
from gridloom_services.scheduler.runs import Run
from gridloom_services.scheduler.spec import Condition, Dependency, Role
from gridloom_services.scheduler.states import FailureClass, JobState
from gridloom_services.scheduler.timers import Timer, TimerKind, Timers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gridloom_services.scheduler.board import Board
    from gridloom_services.scheduler.clock import Clock
    from gridloom_services.scheduler.ledger import Ledger
    from gridloom_services.scheduler.planner import Planner

_MOST_KEPT = 4096


def is_met(condition: Condition, state: JobState) -> bool:
    """Say whether a job that ended in `state` is what a dependency waited for."""
    match condition:
        case Condition.AFTER_OK:
            return state is JobState.SUCCEEDED
        case Condition.AFTER_FAILURE:
            return state in {JobState.FAILED, JobState.CANCELLED}
        case Condition.AFTER_ANY:
            return state.is_final


def asked_replicas(role: Role, sizes: Mapping[str, int]) -> int:
    """Return how many replicas of a role the engine is asked for at the start of a gang.

    The engine lets a role grow only where it is asked for more than the gang itself.
    """
    if not role.elastic:
        return role.replicas
    return max(sizes.get(role.name, role.replicas), role.min_replicas + 1)


def role_requests(
    roles: tuple[Role, ...], sizes: Mapping[str, int]
) -> tuple[events.RoleRequest, ...]:
    """Return what the engine is asked for; `sizes` are replicas wanted of elastic roles."""
    return tuple(
        events.RoleRequest(
            role.name,
            asked_replicas(role, sizes),
            role.min_replicas if role.elastic else role.replicas,
            role.resources,
            role.per_node,
        )
        for role in roles
    )


# What the engine is asked for depends on these and the resources alone.
shape_of = attrgetter("name", "replicas", "min_replicas", "elastic", "per_node")


class Requests:
    """What the engine is asked for, made once for jobs that ask for the same."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], tuple[events.RoleRequest, ...]] = {}

    def of(
        self, roles: tuple[Role, ...], sizes: Mapping[str, int]
    ) -> tuple[events.RoleRequest, ...]:
        """As `role_requests`; of equal roles mostly the same object."""
        if sizes:
            return role_requests(roles, sizes)
        key = tuple([(shape_of(role), *role.resources.items()) for role in roles])
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _MOST_KEPT:
                self._known.clear()
            found = self._known[key] = role_requests(roles, sizes)
        return found


class Wait(enum.Enum):
    """Why something is kept from the engine."""

    HELD = "held"
    DEPENDENCY = "dependency"
    START_AFTER = "start after"
    BACKOFF = "back-off"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What keeps a job from the engine: a reason, the jobs or the point in time waited for."""

    wait: Wait
    jobs: tuple[str, ...] = ()
    until_us: int = 0


class Eligibility:
    """Keeps the engine's waiting work in step with the board."""

    def __init__(
        self, board: Board, planner: Planner, ledger: Ledger, timers: Timers, clock: Clock
    ) -> None:
        self._board = board
        self._planner = planner
        self._engine = planner.engine
        self._ledger = ledger
        self._timers = timers
        self._clock = clock
        self._requests = Requests()
        # Dependencies that are not met yet, by job, and who waits for a job.
        self._open: dict[str, set[str]] = {}
        self._dependents: defaultdict[str, set[str]] = defaultdict(set)

    # ---- coming in

    def enter(self, job: Job, ended: Mapping[str, JobState]) -> None:
        """Take in a job of the board, new or reloaded.

        `ended` has the states of the jobs that it depends on and that are over.
        """
        # What has started once waits for nobody any more.
        for dependency in job.spec.dependencies if job.state.is_pending else ():
            state = ended.get(dependency.job_id)
            if dependency.job_id in self._board.jobs:
                self._open.setdefault(job.id, set()).add(dependency.job_id)
                self._dependents[dependency.job_id].add(job.id)
            elif state is None or not is_met(dependency.condition, state):
                self._give_up(job, dependency, state)
                return
        spec = job.spec
        if spec.start_after_us is not None and spec.start_after_us > now_us(self._clock):
            self._timers.set(spec.start_after_us, Timer(TimerKind.START_AFTER, job.id))
        if spec.deadline_us is not None:
            self._timers.set(spec.deadline_us, Timer(TimerKind.DEADLINE, job.id))
        self.offer(job, self._board.waiting(job, JobState.QUEUED))

    def settle(self) -> None:
        """Let every job that has become final have its effect on those that waited for it."""
        while self._ledger.over:
            job = self._ledger.over.popleft()
            self._open.pop(job.id, None)
            for waiting_id in sorted(self._dependents.pop(job.id, ())):
                if waiting_id in self._open:
                    self._tell(self._board.jobs[waiting_id], job)

    def _tell(self, waiting: Job, over: Job) -> None:
        dependency = next(each for each in waiting.spec.dependencies if each.job_id == over.id)
        if not is_met(dependency.condition, over.state):
            self._give_up(waiting, dependency, over.state)
            return
        still_open = self._open[waiting.id]
        still_open.discard(over.id)
        if not still_open:
            del self._open[waiting.id]
            self.offer(waiting, self._board.waiting(waiting, JobState.QUEUED))

    def _give_up(self, job: Job, dependency: Dependency, state: JobState | None) -> None:
        self._open.pop(job.id, None)
        ended = f"ended {state.name}" if state else "does not exist any more"
        wanted = dependency.condition.name.lower().replace("_", " ")
        reason = f"its dependency ({wanted} {dependency.job_id}) cannot be met: that job {ended}"
        outcome = Outcome(JobState.CANCELLED, FailureClass.CANCELLED, reason=reason)
        self._ledger.end_waiting(
            job, self._board.waiting(job, JobState.HELD, JobState.QUEUED), outcome
        )

    # ---- between the board and the engine

    def obstacle(self, job: Job, element: int | None = None) -> Obstacle | None:
        """Return what keeps a pending job, or one element of it, from the engine; None: nothing."""
        state = job.state if element is None else self._board.state(job, element)
        if state is JobState.HELD:
            return Obstacle(Wait.HELD)
        still_open = self._open.get(job.id)
        if still_open:
            return Obstacle(Wait.DEPENDENCY, jobs=tuple(sorted(still_open)))
        start_after_us = job.spec.start_after_us or 0
        if start_after_us > now_us(self._clock):
            return Obstacle(Wait.START_AFTER, until_us=start_after_us)
        if element is not None and element in self._board.resting.get(job.id, ()):
            return Obstacle(Wait.BACKOFF, until_us=self._board.tries(job, element).not_before_us)
        return None

    def offer(self, job: Job, runs: Iterable[Run]) -> None:
        """Give the engine elements that have just begun to wait, if nothing keeps them from it."""
        if self.obstacle(job) is not None:
            return
        plain: list[Run] = []
        for run in runs:
            plain += self._offer_grown(job, run)
        if not plain:
            return
        if self._engine.knows(job.id):
            elements = tuple(each for run in plain for each in range(run.first, run.end))
            self._planner.apply(events.ElementsReturned(job.id, elements))
        else:
            self._submit(job, plain)

    def _offer_grown(self, job: Job, run: Run) -> list[Run]:
        """Offer a run's elements with more memory one by one; return what is left of it."""
        special = self._board.resting.get(job.id, set()) | self._grown(job)
        if not special:
            return [run]
        left, first = [], run.first
        for element in sorted(each for each in special if run.first <= each < run.end):
            if element > first:
                left.append(Run(first, element - first, run.state))
            first = element + 1
            if element not in self._board.resting.get(job.id, ()):
                self._submit_grown(job, element)
        if first < run.end:
            left.append(Run(first, run.end - first, run.state))
        return left

    def _grown(self, job: Job) -> set[int]:
        return self._board.grown(job) if job.is_array else set()

    def resume(self, job: Job, elements: list[int]) -> None:
        """Tell the engine of elements that run, as waiting; the caller says where they run."""
        grown = self._grown(job)
        for element in elements:
            if element in grown:
                self._submit_grown(job, element)
        plain = [Run(element, 1, JobState.RUNNING) for element in elements if element not in grown]
        if plain:
            self._submit(job, plain)

    def _submit(self, job: Job, runs: list[Run]) -> None:
        array = job.spec.array
        roles = self.roles(job, ONLY) if array is None else job.spec.roles
        self._planner.apply(
            events.JobSubmitted(
                job=job.id,
                queue=job.queue_key,
                priority=job.spec.priority,
                sequence=job.sequence,
                roles=self._requests.of(roles, job.sizes),
                time_limit_s=job.time_limit_s,
                elements=job.spec.elements,
                max_parallel=0 if array is None else array.max_parallel,
                waiting=None if array is None else tuple((run.first, run.count) for run in runs),
            )
        )

    def _submit_grown(self, job: Job, element: int) -> None:
        """Offer an element that asks for more than the others as if it were a job of its own."""
        self._board.sequence += 1
        self._planner.apply(
            events.JobSubmitted(
                job=element_id(job, element),
                queue=job.queue_key,
                priority=job.spec.priority,
                sequence=self._board.sequence,
                roles=role_requests(self.roles(job, element), job.sizes),
                time_limit_s=job.time_limit_s,
            )
        )

    def withdraw(self, job: Job, runs: Iterable[Run], *, whole: bool = False) -> None:
        """Take elements that wait back from the engine; what runs stays.

        `whole` says that these are all that wait of the job.
        """
        if whole and self._engine.knows(job.id):
            self._planner.apply(events.JobWithdrawn(job.id))
        grown = self._grown(job)
        for run in runs:
            if not whole and self._engine.knows(job.id):
                elements = range(run.first, run.end)
                self._planner.apply(events.ElementsWithdrawn(job.id, elements))
            for element in sorted(each for each in grown if run.first <= each < run.end):
                key = element_id(job, element)
                if self._engine.knows(key):
                    self._planner.apply(events.JobWithdrawn(key))

    def roles(self, job: Job, element: int) -> tuple[Role, ...]:
        """Return a job's roles with the memory that the element's next attempt gets."""
        factor = self._board.tries(job, element).memory_factor
        if factor == 1:
            return job.spec.roles
        return grown_roles(job.spec.roles, factor, self.largest_memory())

    def largest_memory(self) -> int:
        """Return the memory of the largest node."""
        return max((node.capacity.get(MEMORY, 0) for node in self._engine.nodes()), default=0)

    def engine_key(self, job: Job, element: int) -> tuple[str, int]:
        """Return what the engine calls an element: a job and a position."""
        if job.is_array and self._board.tries(job, element).memory_factor > 1:
            return element_id(job, element), ONLY
        return job.id, element

    def unit_of(self, key: str, position: int) -> tuple[Job, int]:
        """Return the job and element that the engine means."""
        job_id, _, number = key.partition(".")
        job = self._board.jobs[job_id]
        if not number or job.spec.array is None:
            return job, position
        element = job.spec.array.position(int(number))
        assert element is not None, key
        return job, element
