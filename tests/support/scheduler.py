"""Jobs to test with: everything has a default, so a test says only what it is about."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from gridloom_services.common.background import Background
from gridloom_services.common.metrics import NO_METRICS
from gridloom_services.scheduler.archive import LogArchive
from gridloom_services.scheduler.control import Control, Surroundings
from gridloom_services.scheduler.inputs import Inputs, MemoryKeeper
from gridloom_services.scheduler.intake import Submission
from gridloom_services.scheduler.job import Event, Job
from gridloom_services.scheduler.metrics import SchedulerMetrics
from gridloom_services.scheduler.queue import WEEK_S
from gridloom_services.scheduler.runs import Run
from gridloom_services.scheduler.runtime.base import NodeCapacity
from gridloom_services.scheduler.runtime.memory import MemoryRuntime
from gridloom_services.scheduler.runtime.memory_cluster import (
    Behaviour,
    ManualClock,
    MemoryCluster,
)
from gridloom_services.scheduler.spec import ArraySpec, JobSpec, Range, Role
from gridloom_services.scheduler.states import JobState
from gridloom_services.scheduler.store.memory import MemoryStore

from tests.support.crashing import Crashing, Fate

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from gridloom_services.scheduler.runtime.base import Gang, Runtime
    from gridloom_services.scheduler.runtime.memory_cluster import Script
    from gridloom_services.scheduler.store.base import Store

NOW_US = 1_000_000_000_000_000


def a_role(name: str = "main", *, cpu: int = 1000, memory: int = 0, **changes: Any) -> Role:
    resources = {"cpu": cpu} | ({"memory": memory} if memory else {})
    role = Role(name=name, command=("true",), resources=MappingProxyType(resources))
    if "replicas" in changes and "min_replicas" not in changes:
        changes["min_replicas"] = changes["replicas"]
    return replace(role, **changes)


def a_spec(*roles: Role, **changes: Any) -> JobSpec:
    return replace(
        JobSpec(project="default", queue="default", roles=roles or (a_role(),)), **changes
    )


def an_array(size: int, max_parallel: int = 0) -> ArraySpec:
    return ArraySpec((Range(0, size - 1),), max_parallel)


def a_job(sequence: int = 1, spec: JobSpec | None = None, **changes: Any) -> Job:
    spec = spec or a_spec()
    state = changes.get("state", JobState.QUEUED)
    job = Job(
        sequence=sequence,
        id=f"job_{sequence}",
        spec=spec,
        owner="ada",
        state=state,
        submitted_us=NOW_US,
        time_limit_s=WEEK_S,
        revision=sequence,
        queued_us=NOW_US,
        runs=(Run(0, spec.elements, state),) if spec.array else (),
    )
    return replace(job, **changes)


def an_event(revision: int, job: Job, **changes: Any) -> Event:
    values = {"at_us": NOW_US, "before": None, "after": job.state} | changes
    return Event(revision=revision, sequence=job.sequence, job_id=job.id, **values)


class Platform:
    """A scheduler on a cluster in memory whose time stands still until it is moved.

    `fate` may end the scheduler at any step; store and cluster go on, and `begin` starts another.
    """

    def __init__(
        self,
        folder: Path,
        script: Script | None = None,
        nodes: tuple[NodeCapacity, ...] = (),
        store: Store | None = None,
        metrics: SchedulerMetrics | None = None,
    ) -> None:
        self.metrics = metrics or SchedulerMetrics(NO_METRICS)
        self.clock = ManualClock(NOW_US / 1e6)
        self.cluster = MemoryCluster(nodes, script or run_until_told, self.clock)
        self.store = store or MemoryStore()
        self.keeper = MemoryKeeper()
        self.folder = folder
        self.archive: LogArchive
        self.background = Background()
        self.fatal: list[BaseException] = []
        self.runtime = MemoryRuntime(self.cluster)
        self.fate = Fate()
        self.control: Control

    async def begin(self) -> None:
        self.fate = Fate()
        self.runtime = MemoryRuntime(self.cluster)
        await self.runtime.open()
        store = cast("Store", Crashing(self.store, self.fate))
        self.archive = LogArchive(self.folder / "logs", store, self.keeper)
        self.control = Control(
            Surroundings(
                store=store,
                runtime=cast("Runtime", Crashing(self.runtime, self.fate)),
                archive=self.archive,
                inputs=Inputs(self.keeper),
                background=self.background,
                clock=self.clock,
                metrics=self.metrics,
                issue_token=lambda _, live: f"token of {live.name}",
                address="here:1",
                on_fatal=self.fatal.append,
            )
        )
        await self.control.start()
        await self.settle()

    async def end(self) -> None:
        await self.control.stop()
        await self.background.close()
        await self.runtime.close()

    async def crash(self, work: Coroutine[Any, Any, Any], after: int) -> None:
        """Die over `work`, `after` moments later (a step has one before and one after)."""
        self.fate.left = after
        task = asyncio.ensure_future(work)
        await self.settle()
        assert self.fate.is_over
        task.cancel()
        await asyncio.wait([task])
        await self.bury()

    async def bury(self) -> None:
        """Begin anew after the scheduler has died."""
        await self.end()
        self.fatal.clear()
        await self.begin()

    async def restart(self) -> None:
        await self.end()
        await self.begin()

    async def settle(self) -> None:
        """Let everything happen that needs no time."""
        is_quiet = False
        while not (is_quiet or self.fate.is_over):
            for _ in range(100):
                self.clock.advance(0)
                await asyncio.sleep(0)
            if self.fate.is_over:
                return
            pause_s = self.control.core.planner.pause_s()
            is_quiet = pause_s is None
            await asyncio.sleep(pause_s or 0)

    async def advance(self, seconds: float) -> None:
        """Let time pass, and everything happen that it brings."""
        self.clock.advance(seconds)
        await self.settle()

    async def submit(self, *specs: JobSpec) -> list[str]:
        """Submit jobs and let them start; their ids."""
        jobs = await self.control.submit(Submission(specs or (a_spec(),), "ada"))
        await self.settle()
        return [job.id for job in jobs]

    async def job(self, job_id: str) -> Job:
        """The job as the store has it."""
        return (await self.store.jobs(frozenset({job_id})))[job_id]

    async def states(self, *job_ids: str) -> list[str]:
        return [(await self.job(job_id)).state.name for job_id in job_ids]

    async def runs(self, job_id: str) -> str:
        """An array's states, a letter an element: "SSRRQ"."""
        return "".join(run.state.name[0] * run.count for run in (await self.job(job_id)).runs)

    async def finish(self, gang: str, role: str = "main", index: int = 0, **how: Any) -> None:
        """End a replica now."""
        self.cluster.finish(gang, role, index, **how)
        await self.settle()

    def starts(self, gang: str) -> int:
        """How often replicas of this gang were really started."""
        return sum(name == gang for name, _, _ in self.cluster.started)


def run_until_told(_gang: Gang, _role: str, _index: int) -> Behaviour:
    """The script of a platform that was given none: nothing ends by itself."""
    return Behaviour(duration_s=None)


def nodes_of(count: int, cpu: int = 4000, memory: int = 8 << 30) -> tuple[NodeCapacity, ...]:
    return tuple(
        NodeCapacity(f"node{number}", {"cpu": cpu, "memory": memory}) for number in range(count)
    )
