"""The pools of the service, each reconciled towards the workers that it should have.

Nothing acts on what an event says: an event makes a pool worth a look, and the look compares what
is wanted with what is there. A pool's row is stored before the scheduler is asked for its job, and
the request's name is in it, so a crash at any point leads to the same job and never to two.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from gridloom_services.common.errors import (
    ConflictError,
    GridloomServiceError,
    NotFoundError,
    UnavailableError,
    VersionMismatchError,
)
from gridloom_services.common.worker_images import WorkerImages
from gridloom_services.functions.pools.images import in_image
from gridloom_services.functions.pools.jobs import JobIsOverError, PoolJob
from gridloom_services.functions.pools.pool import MOST_FAILED_STARTS, Pool, PoolIndex
from gridloom_services.functions.pools.sizing import Demand, most_workers, sizing
from gridloom_services.functions.pools.spec import PoolState, checked
from gridloom_services.functions.store.rows import PoolRow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from gridloom_services.functions.holds import ObjectDoor
    from gridloom_services.functions.pools.jobs import JobNews, PoolJobs
    from gridloom_services.functions.pools.sizing import PoolLoad
    from gridloom_services.functions.pools.spec import PoolSpec

_log = logging.getLogger(__name__)
_RETRY_S = 0.5
_LONGEST_PAUSE_S = 5.0
# After a start: processes of pools that run have so long to come back before anything is made of
# their absence.
_RETURN_S = 3.0


class PoolFloor(Protocol):
    """What the pools ask of those who hold calls and workers."""

    def load(self, pool_id: str) -> PoolLoad:
        """What waits, what runs, and who is idle."""
        ...

    def drain(self, pool_id: str) -> bool:
        """Tell the pool's hosts to end when their workers have finished; False: none is here."""
        ...

    def cancel_calls(self, pool_id: str, reason: str) -> None:
        """The pool was closed: what waits for it is cancelled."""
        ...

    def refuse_calls(self, pool_id: str, error: GridloomServiceError) -> None:
        """No worker will ever come: what waits for the pool ends with this error."""
        ...


class Pools:
    """All pools. Used from the event loop only; `run` must be running for anything to happen."""

    def __init__(
        self,
        jobs: PoolJobs,
        floor: PoolFloor,
        save: Callable[[PoolRow], Awaitable[None]],
        new_id: Callable[[], str],
        objects: ObjectDoor,
        *,
        default_workers: int = 0,
        images: WorkerImages | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._jobs = jobs
        self._floor = floor
        self._save = save
        self._new_id = new_id
        self._objects = objects
        self._default_workers = default_workers
        self._images = images or WorkerImages()
        self._clock = clock
        self._index = PoolIndex()
        self._demand = Demand()
        self._own_changed = asyncio.Event()
        self._due = asyncio.Event()
        self._looks: set[asyncio.Task[None]] = set()

    # ---- what users ask

    def load(self, rows: Iterable[tuple[PoolRow, PoolSpec]]) -> None:
        """Take over what the store knows, before `run`."""
        for row, spec in rows:
            settles_at = self._clock() + _RETURN_S if row.job_id else 0.0
            self._index.add(Pool(row, self._checked_again(spec), settles_at=settles_at))

    def shared(self, spec: PoolSpec, owner: str) -> tuple[Pool, bool]:
        """The automatic pool of this specification, and whether it is new: then store its row.

        An InvalidRequestError or VersionMismatchError where there cannot be such a pool.
        """
        key = spec.key
        known = self._index.by_key.get(key)
        if known is not None and known.state.is_open:
            return known, False
        return self._made(self._checked(spec), owner, key=key), True

    async def validate(self, spec: PoolSpec) -> None:
        """Raise what is wrong with it: by itself, or with the scheduler's queues and nodes of now.

        UnavailableError where the scheduler does not answer.
        """
        checked_spec = self._checked(spec)
        workers = max(checked_spec.min_workers, 1)
        await self._jobs.validate(PoolJob("", "", checked_spec, workers))

    async def create(self, spec: PoolSpec, owner: str, request_id: str = "") -> Pool:
        """A pool of one's own, stored; the same request makes it once. Refused as `validate`."""
        known = self._asked_before(spec, request_id)
        if known is None:
            await self.validate(spec)
            known = self._asked_before(spec, request_id)
        if known is not None:
            return known
        pool = self._made(self._checked(spec), owner, request_id=request_id)
        if spec.objects:
            await self._hold(pool)
        await self._save(pool.row)
        self.changed(pool.id)
        return pool

    def _asked_before(self, spec: PoolSpec, request_id: str) -> Pool | None:
        known = self._index.by_request.get((spec.project, request_id)) if request_id else None
        if known is not None and known.row.body != spec.body:
            raise ConflictError(
                f'request "{request_id}" made another pool before: {known.id}',
                field="request_id",
                given=request_id,
            )
        return known

    def get(self, pool_id: str) -> Pool:
        """The pool, open or not; a NotFoundError where there is none."""
        pool = self._index.by_id.get(pool_id)
        if pool is None:
            raise NotFoundError(f"pool {pool_id} does not exist", field="pool_id", given=pool_id)
        return pool

    def find(self, pool_id: str) -> Pool | None:
        """The same without complaint."""
        return self._index.by_id.get(pool_id)

    def all(self, project: str = "") -> list[Pool]:
        """Those of a project, newest first."""
        chosen = [p for p in self._index.by_id.values() if project in {"", p.row.project}]
        return sorted(chosen, key=lambda pool: pool.row.created_at, reverse=True)

    async def respecify(self, pool_id: str, spec: PoolSpec) -> Pool:
        """Give an open pool another specification (a size); ConflictError where it has ended."""
        pool = self.get(pool_id)
        if not pool.state.is_open:
            raise ConflictError(
                f"pool {pool_id} is {pool.state.name}", field="pool_id", given=pool_id
            )
        pool.spec = self._checked(spec)
        pool.row = replace(pool.row, body=spec.body)
        await self._save(pool.row)
        self.changed(pool_id)
        return pool

    async def close(self, pool_id: str) -> Pool:
        """Have its workers end after the calls they are in; cancel what waits for it."""
        pool = self.get(pool_id)
        if pool.state in {PoolState.CLOSING, PoolState.CLOSED}:
            return pool
        self._index.closed(pool)
        pool.becomes(PoolState.CLOSING, "closed by its owner")
        await self._save(pool.row)
        self._floor.cancel_calls(pool.id, f"pool {pool.id} was closed")
        self.changed(pool.id)
        return pool

    def _checked(self, spec: PoolSpec) -> PoolSpec:
        return in_image(checked(spec), self._images)

    def _checked_again(self, spec: PoolSpec) -> PoolSpec:
        """One that was accepted; its Python may have lost its image since: its next job says so."""
        try:
            return self._checked(spec)
        except VersionMismatchError:
            return checked(spec)

    def _made(self, spec: PoolSpec, owner: str, *, key: str = "", request_id: str = "") -> Pool:
        row = PoolRow(
            id=self._new_id(),
            key=key,
            project=spec.project,
            owner=owner,
            request_id=request_id,
            body=spec.body,
            state=int(PoolState.IDLE),
            job_id="",
            generation=0,
            created_at=self._clock(),
            reason="",
        )
        pool = Pool(row, spec)
        self._index.add(pool)
        return pool

    # ---- what happens

    def changed(self, pool_id: str) -> None:
        """Calls or workers of the pool have come or gone: it is worth a look."""
        pool = self._index.by_id.get(pool_id)
        if pool is None:
            return
        if pool.is_acting:
            pool.acts_again = True
            return
        pool.is_acting = True
        task = asyncio.get_running_loop().create_task(self._look(pool), name=f"pool {pool.id}")
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)

    def worker_joined(self, pool_id: str) -> None:
        """A worker is there: whatever its pool's starts failed of is over."""
        pool = self._index.by_id.get(pool_id)
        if pool is not None:
            pool.had_worker, pool.failed_starts = True, 0
            self.changed(pool_id)

    async def broke(self, pool_id: str, reason: str) -> None:
        """Its host says that workers cannot be made (the initialiser raised, ...)."""
        pool = self._index.by_id.get(pool_id)
        if pool is not None and pool.state.is_open:
            await self._break(pool, reason)

    async def run(self) -> None:
        """Follow the scheduler and the clock until cancelled."""
        for pool in self._index.by_id.values():
            self._end_left_calls(pool)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_news())
            tasks.create_task(self._follow_demand())
            tasks.create_task(self._follow_clock())
            for pool_id in list(self._index.by_id):
                self.changed(pool_id)

    def _end_left_calls(self, pool: Pool) -> None:
        """A process that died after it had noted a pool's end may have left calls of it."""
        if pool.state is PoolState.BROKEN:
            self._floor.refuse_calls(pool.id, pool.broken_by)
        elif not pool.state.is_open:
            self._floor.cancel_calls(pool.id, f"pool {pool.id} was closed")

    async def _follow_news(self) -> None:
        async for news in self._jobs.news():
            pool = self._index.of_job(news.job_id)
            if pool is None:
                continue
            pool.job_runs = news.running
            if news.ended:
                await self._job_ended(pool, news)
            self.changed(pool.id)

    async def _follow_demand(self) -> None:
        """Listen anew whenever our own jobs are others than before."""
        while True:
            self._own_changed.clear()
            own = [p.row.job_id for p in self._index.by_id.values() if p.row.job_id]
            listening = asyncio.create_task(self._listen(own))
            changed = asyncio.create_task(self._own_changed.wait())
            try:
                await asyncio.wait({listening, changed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                listening.cancel()
                changed.cancel()
                await asyncio.gather(listening, changed, return_exceptions=True)

    async def _listen(self, own: Sequence[str]) -> None:
        async for demand in self._jobs.demand(own):
            self._demand = demand
            for pool_id in list(self._index.by_id):
                self.changed(pool_id)

    async def _follow_clock(self) -> None:
        """Look at pools whose idle time is over, and at those whose last step failed."""
        while True:
            self._due.clear()
            now = self._clock()
            times = [(at, p) for p in self._index.by_id.values() if (at := _due_at(p)) is not None]
            for at, pool in times:
                if at <= now:
                    pool.look_again_at, pool.retry_at = None, 0.0
                    self.changed(pool.id)
            rest = min((at for at, _ in times if at > now), default=now + 3600.0) - now
            try:
                async with asyncio.timeout(max(rest, 0.001)):
                    await self._due.wait()
            except TimeoutError:
                continue

    # ---- a look

    async def _look(self, pool: Pool) -> None:
        """Bring one pool to where it should be, step by step until nothing is left to do."""
        try:
            while True:
                pool.acts_again = False
                await self._step_or_wait(pool)
                if not pool.acts_again:
                    return
        finally:
            pool.is_acting = False

    async def _step_or_wait(self, pool: Pool) -> None:
        try:
            await self._step(pool)
            pool.retry_at = 0.0
        except UnavailableError as error:
            _log.info("pool %s: %s; trying again", pool.id, error.message)
            pool.retry_at = self._clock() + _RETRY_S
        except GridloomServiceError as error:
            pool.is_refused(error)
            await self._break(pool, error.message)
        self._due.set()

    async def _step(self, pool: Pool) -> None:
        if pool.state is PoolState.CLOSED:
            return
        if not pool.state.is_open:
            await self._wind_up(pool)
            return
        if pool.row.job_id and self._clock() < pool.settles_at:
            pool.look_again_at = pool.settles_at
            return
        load = self._floor.load(pool.id)
        demand = self._demand.beside(pool.row.job_id)
        most = most_workers(pool.spec, demand, self._default_workers)
        size = sizing(pool.spec, load, demand, self._clock(), most)
        pool.look_again_at = size.look_again_at
        if not pool.row.job_id or pool.is_draining:
            wanted = bool(load.waiting if pool.is_draining else size.workers)
            if wanted or pool.state is PoolState.STARTING:
                await self._start(pool, max(size.workers, 1))
        elif size.workers == 0:
            await self._send_home(pool, "idle")
        else:
            await self._resize(pool, size.workers, load.workers)

    async def _start(self, pool: Pool, workers: int) -> None:
        """Ask for the pool's job; after a crash, for the one that was about to be asked for."""
        if pool.row.state != PoolState.STARTING or pool.row.job_id:
            await self._save(pool.begins_job())
        job = PoolJob(pool.id, pool.request_id, pool.spec, workers)
        try:
            job_id = await self._jobs.submit(job)
        except JobIsOverError:
            await self._left(pool)
            return
        pool.asked_workers = workers
        await self._save(pool.becomes(PoolState.RUNNING, job_id=job_id))
        self._own_changed.set()

    async def _resize(self, pool: Pool, workers: int, present: int) -> None:
        """Grow with the work; shrink to what is there and wanted."""
        if workers == (pool.asked_workers or present):
            return
        try:
            await self._jobs.resize(pool.row.job_id, workers)
        except (ConflictError, NotFoundError):  # it is over: the next look asks for another
            await self._left(pool)
            pool.acts_again = True
            return
        pool.asked_workers = workers

    async def _send_home(self, pool: Pool, reason: str) -> None:
        """No worker is wanted: let them finish and end, or take back what never came."""
        if not pool.job_runs and not self._floor.load(pool.id).workers:
            await self._cancel(pool, reason)
        elif self._floor.drain(pool.id):
            pool.is_draining, pool.asked_workers = True, 0
        else:  # its host is on its way
            pool.look_again_at = self._clock() + _RETRY_S

    async def _cancel(self, pool: Pool, reason: str) -> None:
        try:
            await self._jobs.cancel(pool.row.job_id, reason)
        except (ConflictError, NotFoundError):
            _log.debug("job %s of pool %s is over already", pool.row.job_id, pool.id)
        await self._left(pool)

    async def _left(self, pool: Pool) -> None:
        """It has no job any more."""
        state = pool.state if not pool.state.is_open else PoolState.IDLE
        pool.job_runs = pool.is_draining = False
        pool.asked_workers = 0
        await self._save(pool.becomes(state, pool.reason, job_id=""))
        self._own_changed.set()
        pool.acts_again = True

    async def _hold(self, pool: Pool) -> None:
        try:
            await self._objects.hold(pool.id, pool.spec.objects)
        except OSError as error:
            raise UnavailableError("objects cannot be reached: try again") from error

    async def _closed(self, pool: Pool) -> None:
        """Nothing of it runs: what was kept for it may go."""
        if pool.spec.objects:
            try:
                await self._objects.release(pool.id)
            except OSError as error:
                raise UnavailableError("objects cannot be reached") from error
        await self._save(pool.becomes(PoolState.CLOSED, pool.reason))

    async def _wind_up(self, pool: Pool) -> None:
        """A closed or broken pool has no workers."""
        if not pool.row.job_id:
            if pool.state is PoolState.CLOSING:
                await self._closed(pool)
        elif not pool.is_draining:
            if pool.state is PoolState.CLOSING and self._floor.drain(pool.id):
                pool.is_draining = True
            else:
                await self._cancel(pool, pool.reason)

    # ---- ends

    async def _job_ended(self, pool: Pool, news: JobNews) -> None:
        """Its job is over, as wanted or not: without a single worker too often, it is broken."""
        pool.failed_starts += not pool.had_worker and not pool.is_draining and news.failed
        await self._left(pool)
        if pool.failed_starts >= MOST_FAILED_STARTS and pool.state.is_open:
            await self._break(pool, f"its workers do not start: {news.reason}")
        elif news.failed:
            pause = min(_RETRY_S * 2**pool.failed_starts, _LONGEST_PAUSE_S)
            pool.retry_at = self._clock() + pause
            self._due.set()

    async def _break(self, pool: Pool, reason: str) -> None:
        """Say why, to everybody who waits for it."""
        self._index.closed(pool)
        await self._save(pool.becomes(PoolState.BROKEN, reason))
        _log.warning("pool %s is broken: %s", pool.id, reason)
        self._floor.refuse_calls(pool.id, pool.broken_by)
        self.changed(pool.id)


def _due_at(pool: Pool) -> float | None:
    if pool.retry_at:
        return pool.retry_at
    return pool.look_again_at
