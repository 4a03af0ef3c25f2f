"""The door to the scheduler: a pool's workers are a job there. And the door's twin in memory."""

from __future__ import annotations

import asyncio
from dataclasses import field, replace
from typing import TYPE_CHECKING, Protocol

from gridloom.values import dataclass

from gridloom_services.common.errors import NotFoundError
from gridloom_services.functions.pools.sizing import Demand

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from gridloom_services.functions.pools.spec import PoolSpec

ROLE = "worker"


@dataclass(frozen=True, slots=True)
class PoolJob:
    """What is asked of the scheduler for a pool: the same `request_id` is the same job."""

    pool_id: str
    request_id: str
    spec: PoolSpec
    workers: int


@dataclass(frozen=True, slots=True)
class JobNews:
    """How a pool's job stands. `ended`: it runs no more and will not; the reason says why."""

    job_id: str
    running: bool = False
    ended: bool = False
    failed: bool = False
    reason: str = ""


class JobIsOverError(Exception):
    """The job that a pool has asked for before is over: it needs another one."""


class PoolJobs(Protocol):
    """Starts, resizes and ends the jobs of pools; says what becomes of them."""

    async def validate(self, job: PoolJob) -> None:
        """Raise what `submit` would: a refusal is one of the errors of `common`."""
        ...

    async def submit(self, job: PoolJob) -> str:
        """The id of the job, accepted for good. A refusal is one of the errors of `common`.

        A job that was asked for before, perhaps with another number of workers and by a process
        that is no more, is the same one and gets this number. JobIsOverError: that one has ended.
        UnavailableError: it may be accepted later.
        """
        ...

    async def resize(self, job_id: str, workers: int) -> None:
        """Have so many workers, at least 1; growth waits its turn. ConflictError: it is over."""
        ...

    async def cancel(self, job_id: str, reason: str) -> None:
        """End it, whatever it does."""
        ...

    def news(self) -> AsyncIterator[JobNews]:
        """How each pool's job stands now, and every change; it goes on when the way is broken."""
        ...

    def demand(self, own: Sequence[str]) -> AsyncIterator[Demand]:
        """How much there is and who waits, of jobs `own` by name; now and at every change."""
        ...


@dataclass
class _Held:
    job: PoolJob
    news: JobNews


@dataclass
class MemoryPoolJobs:
    """The twin: jobs that run as soon as they are told to. For tests and for reading."""

    jobs: dict[str, _Held] = field(default_factory=dict)
    resizes: list[tuple[str, int]] = field(default_factory=list)
    refusal: Exception | None = None
    _by_request: dict[str, str] = field(default_factory=dict)
    _listeners: list[asyncio.Queue[JobNews]] = field(default_factory=list)
    _demand: Demand = field(default_factory=Demand)
    _demand_changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def validate(self, job: PoolJob) -> None:
        """Refuse as told."""
        del job
        if self.refusal is not None:
            raise self.refusal

    async def submit(self, job: PoolJob) -> str:
        """Keep it as queued, or refuse as told."""
        await self.validate(job)
        known = self._by_request.get(job.request_id)
        if known is not None:
            if self.jobs[known].news.ended:
                raise JobIsOverError(known)
            await self.resize(known, job.workers)
            return known
        job_id = f"job_{len(self.jobs)}"
        self.jobs[job_id] = _Held(job, JobNews(job_id))
        self._by_request[job.request_id] = job_id
        return job_id

    async def resize(self, job_id: str, workers: int) -> None:
        """Note it."""
        held = self._held(job_id)
        held.job = replace(held.job, workers=workers)
        self.resizes.append((job_id, workers))

    async def cancel(self, job_id: str, reason: str) -> None:
        """It ends at once."""
        self._held(job_id)
        self.tell(JobNews(job_id, ended=True, reason=reason))

    async def news(self) -> AsyncIterator[JobNews]:
        """The present state, then what `tell` says."""
        queue: asyncio.Queue[JobNews] = asyncio.Queue()
        self._listeners.append(queue)
        for held in list(self.jobs.values()):
            yield held.news
        while True:
            yield await queue.get()

    async def demand(self, own: Sequence[str]) -> AsyncIterator[Demand]:
        """The demand that `set_demand` says; in memory no job waits but others'."""
        del own
        while True:
            self._demand_changed.clear()
            yield self._demand
            await self._demand_changed.wait()

    def tell(self, news: JobNews) -> None:
        """Something has become of a job."""
        self._held(news.job_id).news = news
        for queue in self._listeners:
            queue.put_nowait(news)

    def set_demand(self, demand: Demand) -> None:
        """Others wait now, or do no more."""
        self._demand = demand
        self._demand_changed.set()

    def _held(self, job_id: str) -> _Held:
        held = self.jobs.get(job_id)
        if held is None:
            raise NotFoundError(f"{job_id} does not exist", field="job_id", given=job_id)
        return held
