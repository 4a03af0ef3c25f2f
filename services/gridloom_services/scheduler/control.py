"""The one loop: what happens goes in, is thought about, is committed, and is acted upon.

Inputs (requests, reports of the runtime, the clock) change the core at once, in memory. A pass
then plans, writes everything that changed in one transaction, and only after that answers
requests, tells watchers and brings the runtime to what was decided. So a crash at any point
leaves a store from which a new start continues, and nothing was said or done that is not in it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, TypeVar

from gridloom.values import dataclass

from gridloom_services.common.errors import (
    GridloomServiceError,
    StorageFullError,
    UnavailableError,
)
from gridloom_services.scheduler.clock import Alarm
from gridloom_services.scheduler.commands import Commands, Target, retried_spec, split_id, target_of
from gridloom_services.scheduler.core import Core
from gridloom_services.scheduler.explain import explain
from gridloom_services.scheduler.gang import gang_of
from gridloom_services.scheduler.history import history
from gridloom_services.scheduler.intake import (
    Known,
    Submission,
    dependency_ids,
    request_keys,
)
from gridloom_services.scheduler.reconcile import Reconciler
from gridloom_services.scheduler.states import FailureClass
from gridloom_services.scheduler.views import Views
from gridloom_services.scheduler.watch import Pulse, WatchHub

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gridloom_services.common.background import Background
    from gridloom_services.scheduler.archive import LogArchive
    from gridloom_services.scheduler.clock import Clock
    from gridloom_services.scheduler.explain import Answer
    from gridloom_services.scheduler.history import HistoryPage, Place
    from gridloom_services.scheduler.inputs import Inputs
    from gridloom_services.scheduler.job import Job, LiveGang
    from gridloom_services.scheduler.journal import Batch
    from gridloom_services.scheduler.metrics import SchedulerMetrics
    from gridloom_services.scheduler.projects import Projects
    from gridloom_services.scheduler.query import JobQuery
    from gridloom_services.scheduler.queues import Queues
    from gridloom_services.scheduler.runtime.base import Gang, Runtime
    from gridloom_services.scheduler.store.base import Store

T = TypeVar("T")

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_WATCH_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the scheduler works with."""

    store: Store
    runtime: Runtime
    archive: LogArchive
    inputs: Inputs
    background: Background
    clock: Clock
    metrics: SchedulerMetrics
    # Makes the token of an attempt's processes.
    issue_token: Callable[[Job, LiveGang], str]
    # Where those processes reach the platform.
    address: str
    # Hears of an error after which this scheduler must not go on.
    on_fatal: Callable[[BaseException], None]
    # Nodes with devices are kept for those who ask for some.
    spare_devices: bool = True


def _stopping() -> UnavailableError:
    return UnavailableError("the scheduler is stopping; nothing of the request was accepted")


class Control:
    """Runs the core. Its methods answer once what they did is on disk."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._with = surroundings
        self._wake = asyncio.Event()
        self._alarm = Alarm(surroundings.clock, self._wake.set)
        self._core: Core | None = None
        self._hub: WatchHub | None = None
        self._reconciler: Reconciler | None = None
        self._loop_task: asyncio.Task[None] | None = None
        self._watch_task: asyncio.Task[None] | None = None
        self._nodes_task: asyncio.Task[None] | None = None
        # Beats after each pass.
        self.pulse = Pulse()

    @property
    def core(self) -> Core:
        """What is in memory. UnavailableError before the start and while it is read anew."""
        if self._core is None:
            raise UnavailableError("the scheduler is reading its store; try again")
        return self._core

    @property
    def hub(self) -> WatchHub:
        """The changes. UnavailableError before the start."""
        if self._hub is None:
            raise UnavailableError("the scheduler has not started; try again")
        return self._hub

    def is_idle(self) -> bool:
        """Say whether nothing waits or runs; False while that is not known.

        Pools count: their owner sends them home in time.
        """
        return self._core is not None and not self._core.board.jobs

    def is_live(self, job_id: str, number: int | None, attempt: int) -> bool:
        """Say whether this attempt of a job (of the element with this number) is wanted."""
        name = job_id if number is None else f"{job_id}.{number}"
        return self._core is None or f"{name}-a{attempt}" in self._core.board.gangs

    @property
    def views(self) -> Views:
        """What is shown of jobs."""
        return Views(self.core.board, self._with.store)

    # ---- start and stop

    async def start(self) -> None:
        """Read the store, adopt what runs, and begin."""
        await self._begin()
        self._loop_task = asyncio.create_task(self._run())
        self._loop_task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Let go. What runs goes on, and what is not on disk was not answered."""
        for task in (self._loop_task, self._watch_task, self._nodes_task):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        if self._reconciler is not None:
            await self._reconciler.close()
        if self._core is not None:
            self._core.journal.take().fail(_stopping())
            self._core = None

    async def _begin(self) -> None:
        runtime, store = self._with.runtime, self._with.store
        contents = await store.load()
        core = Core(
            contents,
            self._with.clock,
            runtime.features,
            self._wake.set,
            spare_devices=self._with.spare_devices,
        )
        ended = await store.jobs(core.awaited())
        nodes, names = await runtime.capacity(), await runtime.names()
        core.rebuild(nodes, {job_id: job.state for job_id, job in ended.items()})
        self._hub = self._hub or WatchHub(store, contents.revision)
        self._reconciler = Reconciler(runtime, self._with.archive, self)
        self._reconciler.adopt(contents.gangs, names)
        self._watch_task = asyncio.create_task(self._watch(core, self._reconciler))
        self._nodes_task = asyncio.create_task(self._watch_nodes(core))
        self._core = core
        self._with.background.start(self._with.inputs.hold(contents.jobs), "hold files")
        self._wake.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("the scheduler cannot go on", exc_info=error)
            if self._core is not None:
                self._core.journal.take().fail(_stopping())
                self._core = None
            self._with.on_fatal(error)

    # ---- the loop

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._pass(self.core)

    async def _pass(self, core: Core) -> None:
        core.advance()
        batch = core.journal.take()
        try:
            await self._commit(batch)
        except (StorageFullError, UnavailableError) as error:
            batch.fail(error)
            await self._begin_again(core, error)
            return
        except Exception as error:
            batch.fail(error)
            raise
        except asyncio.CancelledError:
            batch.fail(_stopping())
            raise
        self._follow_up(core, batch)

    async def _commit(self, batch: Batch) -> None:
        if batch.changes:
            began = time.perf_counter()
            await self._with.store.write(batch.changes)
            self._with.metrics.committed(batch, time.perf_counter() - began)

    def _follow_up(self, core: Core, batch: Batch) -> None:
        """Say and do what follows from what is on disk now."""
        batch.acknowledge()
        over = [each.job for each in batch.published if each.job.state.is_final]
        if over:
            self._with.background.start(self._with.inputs.release(over), "release files")
        if batch.changes.events:
            self.hub.publish(batch.published, batch.changes.events[-1].revision)
        if batch.gangs and self._reconciler is not None:
            self._reconciler.bring(batch.gangs)
        self._with.metrics.passed(core)
        self.pulse.beat()
        self._alarm.set(core.timers.next_us)
        pause_s = core.planner.pause_s()
        if pause_s is not None:
            asyncio.get_running_loop().call_later(pause_s, self._wake.set)

    async def _begin_again(self, core: Core, error: GridloomServiceError) -> None:
        """Forget what could not be written: begin anew from what is on disk."""
        _log.error("the store refused a commit; beginning anew", extra={"error": str(error)})
        self._core = None
        core.journal.take().fail(error)
        for task in (self._watch_task, self._nodes_task):
            if task is not None:
                task.cancel()
        if self._reconciler is not None:
            await self._reconciler.close()
        pause_s = _FIRST_PAUSE_S
        while self._core is None:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            try:
                await self._begin()
            except (StorageFullError, UnavailableError) as again:
                _log.warning("the store still refuses", extra={"error": str(again)})

    async def _watch(self, core: Core, reconciler: Reconciler) -> None:
        """Take in what the runtime reports."""
        while True:
            try:
                async for status in self._with.runtime.watch():
                    if not core.attempts.report(status):
                        reconciler.stray(status.gang)
                    if status.failure_class is FailureClass.NODE_LOST:
                        await self._look_at_nodes(core)
                    self._wake.set()
            except OSError as error:
                _log.warning("the runtime cannot be watched", extra={"error": str(error)})
            await asyncio.sleep(_WATCH_PAUSE_S)

    async def _watch_nodes(self, core: Core) -> None:
        """Take over every change of the nodes."""
        while True:
            await self._with.runtime.capacity_changed()
            await self._look_at_nodes(core)
            self._wake.set()

    async def _look_at_nodes(self, core: Core) -> None:
        """Take over which nodes there are, before work is given to one that is gone."""
        core.nodes_are(await self._with.runtime.capacity())

    # ---- for the reconciler

    def gang_of(self, live: LiveGang) -> Gang | None:
        """Return what to start for a committed attempt."""
        job = self.core.board.jobs.get(live.job_id)
        if job is None:
            return None
        roles = self.core.eligibility.roles(job, live.element)
        return gang_of(job, live, roles, self._with.issue_token(job, live), self._with.address)

    def never_began(self, name: str) -> None:
        """End a gang that was ordered to stop before its start was begun."""
        self.core.never_began(name)

    def start_failed(self, name: str, reason: str) -> None:
        """End a gang that the runtime cannot start or has lost."""
        self.core.start_failed(name, reason)
        self._with.background.start(self._look_at_nodes(self.core), "look at the nodes")

    # ---- requests

    async def page(self, query: JobQuery, before: int | None, limit: int) -> list[Job]:
        """Return jobs as they are on disk, the newest first."""
        return await self._with.store.page(query, before, limit)

    async def history(self, target: Target, after: Place | None, size: int) -> HistoryPage:
        """Return a page of a job's events."""
        return await history(self._with.store, target, after, size)

    def explain(self, target: Target) -> Answer:
        """Return why a job waits."""
        return explain(self.core, target, self._with.clock)

    async def submit(self, submission: Submission) -> list[Job]:
        """Accept jobs: on disk when this returns. All or none."""
        known = await self._known(submission)
        await self._with.inputs.check(submission.specs)
        jobs = self.core.intake.accept(submission, known)
        if not submission.validate_only:
            await self.core.journal.committed()
            await self._hold_inputs(jobs)
        return jobs

    async def _hold_inputs(self, jobs: Sequence[Job]) -> None:
        """Keep the jobs' files; not of those that are over, already or by now."""
        live = [job for job in jobs if not job.state.is_final]
        await self._with.inputs.hold(live)
        board = self.core.board
        await self._with.inputs.release([job for job in live if job.id not in board.jobs])

    async def _known(self, submission: Submission) -> Known:
        store = self._with.store
        by_request: dict[tuple[str, str], Job] = {}
        for project, request_ids in request_keys(submission.specs).items():
            found = await store.requests(project, frozenset(request_ids))
            by_request |= {(project, key): job for key, job in found.items()}
        waited = dependency_ids(submission.specs)
        return Known(by_request, await store.jobs(waited) if waited else {})

    async def retry(self, job_id: str, owner: str, request_id: str) -> Job:
        """Accept a new job with the specification of one that is over."""
        (target,) = await self.targets([job_id])
        spec = retried_spec(target, request_id)
        return (await self.submit(Submission((spec,), owner, retry_of=target.id)))[0]

    async def cancel(self, ids: Sequence[str], reason: str, grace_s: float) -> list[Target]:
        """Cancel jobs and elements; what is over stays as it is."""
        targets = await self.targets(ids)
        for target in targets:
            self.core.commands.cancel(target, reason, grace_s)
        return await self._committed(targets)

    async def hold(self, ids: Sequence[str]) -> list[Target]:
        """Keep what waits from starting."""
        return await self._with_waiting(ids, "held", Commands.hold)

    async def release(self, ids: Sequence[str]) -> list[Target]:
        """Let what is held wait for its start again."""
        return await self._with_waiting(ids, "released", Commands.release)

    async def _with_waiting(
        self, ids: Sequence[str], verb: str, act: Callable[[Commands, Target], None]
    ) -> list[Target]:
        """Do something to what waits, all of it or (where one does not wait) none."""
        targets = await self.targets(ids)
        for target in targets:
            self.core.commands.check_waits(target, verb)
        for target in targets:
            act(self.core.commands, target)
        return await self._committed(targets)

    async def resize(
        self, job_id: str, role: str, replicas: int, surplus: tuple[int, ...]
    ) -> Target:
        """Change how many replicas of an elastic role are wanted."""
        (target,) = await self.targets([job_id])
        self.core.commands.resize(target.job, role, replicas, surplus)
        return (await self._committed([target]))[0]

    async def change_queues(self, change: Callable[[Queues], T]) -> T:
        """Make, change or take away a queue."""
        result = change(self.core.queues)
        await self.core.journal.committed()
        return result

    async def change_projects(self, change: Callable[[Projects], T]) -> T:
        """Make, change or take away a project."""
        result = change(self.core.projects)
        await self.core.journal.committed()
        return result

    async def targets(self, ids: Sequence[str]) -> list[Target]:
        """Return what ids mean; NotFoundError for the first that means nothing."""
        split = [split_id(each)[0] for each in ids]
        board = self.core.board
        missing = frozenset(each for each in split if each not in board.jobs)
        found = await self._with.store.jobs(missing) if missing else {}
        jobs = self.core.board.jobs
        return [
            target_of(each, jobs.get(job_id) or found.get(job_id))
            for each, job_id in zip(ids, split, strict=True)
        ]

    async def _committed(self, targets: list[Target]) -> list[Target]:
        """Wait for the commit, then return the targets with their jobs as they are now."""
        await self.core.journal.committed()
        return await self.targets([target.id for target in targets])
