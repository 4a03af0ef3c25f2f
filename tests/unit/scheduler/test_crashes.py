"""Whatever happens, and wherever the scheduler dies: nothing is lost and nothing is done twice."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridloom_services.common.errors import GridloomServiceError
from gridloom_services.scheduler.intake import Submission
from gridloom_services.scheduler.runtime.base import Phase
from gridloom_services.scheduler.spec import Condition, Dependency, RetryPolicy
from gridloom_services.scheduler.states import TRANSITIONS, FailureClass, JobState
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)

from tests.support.crashing import Crash
from tests.support.scheduler import Platform, a_role, a_spec, an_array, nodes_of

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from gridloom_services.scheduler.spec import JobSpec

POLICY = RetryPolicy(
    {FailureClass.APPLICATION_ERROR: 1, FailureClass.NODE_LOST: 1}, backoff_us=2_000_000
)
steps = st.integers(0, 12)
choices = st.integers(0, 1000)


class Crashes(RuleBasedStateMachine):
    """Drives a platform through requests, ends of processes, time, and crashes."""

    jobs: Bundle[str] = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.platform = Platform(Path(self.folder.name), nodes=nodes_of(2, cpu=2000))
        self.requests = 0
        self.accepted: set[str] = set()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(self._guarded(work))

    async def _guarded(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do something; where the scheduler dies over it, start another."""
        task = asyncio.ensure_future(work)
        await self.platform.settle()
        if self.platform.fate.is_over:
            task.cancel()
        await asyncio.wait([task])
        while self.platform.fate.is_over:
            await self.platform.bury()
        if task.cancelled():
            return None
        error = task.exception()
        if error is None:
            return task.result()
        assert isinstance(error, Crash | GridloomServiceError), error
        return None

    @initialize()
    def begin(self) -> None:
        self.do(self.platform.begin())

    # ---- what happens

    @rule(
        target=jobs,
        size=st.sampled_from([0, 0, 3]),
        cpu=st.sampled_from([1000, 2000]),
        hold=st.booleans(),
    )
    def submit(self, size: int, cpu: int, *, hold: bool) -> Any:
        array = an_array(size, max_parallel=2) if size else None
        return self._submit(a_spec(a_role(cpu=cpu), array=array, hold=hold, retry=POLICY))

    @rule(target=jobs, other=jobs, condition=st.sampled_from(list(Condition)))
    def submit_after(self, other: str, condition: Condition) -> Any:
        return self._submit(a_spec(dependencies=(Dependency(other, condition),), retry=POLICY))

    def _submit(self, spec: JobSpec) -> Any:
        """Ask until there is an answer, as a client does; each request makes one job."""
        self.requests += 1
        request = a_spec(*spec.roles, **_fields(spec), request_id=f"request-{self.requests}")
        while (
            jobs := self.do(self.platform.control.submit(Submission((request,), "ada")))
        ) is None:
            pass
        self.accepted.add(jobs[0].id)
        return multiple(jobs[0].id)

    @rule(job=jobs)
    def cancel(self, job: str) -> None:
        self.do(self.platform.control.cancel([job], "not needed", 1.0))

    @rule(job=jobs)
    def hold(self, job: str) -> None:
        self.do(self.platform.control.hold([job]))

    @rule(job=jobs)
    def release(self, job: str) -> None:
        self.do(self.platform.control.release([job]))

    @rule(which=choices, code=st.sampled_from([0, 0, 1]), lost=st.booleans())
    def finish(self, which: int, code: int, *, lost: bool) -> None:
        gang = self._pick(which)
        if gang is not None:
            failure = FailureClass.NODE_LOST if lost and code else None
            self.do(self.platform.finish(gang, exit_code=code, failure_class=failure))

    @rule(which=choices, code=st.sampled_from([0, 1]))
    def finish_while_down(self, which: int, code: int) -> None:
        gang = self._pick(which)
        if gang is not None:
            self.runner.run(self.platform.end())
            self.platform.cluster.finish(gang, exit_code=code)
            self.do(self.platform.begin())

    def _pick(self, which: int) -> str | None:
        running = [
            name
            for name, gang in sorted(self.platform.cluster.gangs.items())
            if gang.replicas["main", 0].status.phase is Phase.RUNNING
        ]
        return running[which % len(running)] if running else None

    @rule(seconds=st.sampled_from([0.5, 2, 10]))
    def wait(self, seconds: float) -> None:
        self.do(self.platform.advance(seconds))

    @rule(after=steps)
    def crash(self, after: int) -> None:
        """Die at one of the next steps."""
        self.platform.fate.left = after

    @rule()
    def restart(self) -> None:
        self.do(self.platform.restart())

    # ---- what always holds

    @invariant()
    def no_replica_was_started_twice(self) -> None:
        counts = Counter(self.platform.cluster.started)
        assert [each for each, count in counts.items() if count > 1] == []

    @invariant()
    def no_two_attempts_run_side_by_side(self) -> None:
        alive = Counter(
            name.rpartition("-a")[0]
            for name, gang in self.platform.cluster.gangs.items()
            if any(each.status.phase is not Phase.ENDED for each in gang.replicas.values())
        )
        assert [each for each, count in alive.items() if count > 1] == []

    @invariant()
    def nothing_fatal_happened(self) -> None:
        assert self.platform.fatal == []

    # ---- the end

    def teardown(self) -> None:
        try:
            self.platform.fate.left = None
            self.runner.run(self._finish_everything())
            self.runner.run(self._check_everything())
            self.runner.run(self.platform.end())
        finally:
            self.runner.close()
            self.folder.cleanup()

    async def _finish_everything(self) -> None:
        # What was ordered to stop has stopped; what runs was not.
        await self.platform.advance(20)
        assert [each for each in (await self.platform.store.load()).gangs if each.stop] == []
        for _ in range(200):
            live = (await self.platform.store.load()).jobs
            if not live:
                break
            held = [job.id for job in live if JobState.HELD in _states(job)]
            if held:
                await self.platform.control.release(held)
            for name in list(self.platform.cluster.gangs):
                self.platform.cluster.finish(name)
            await self.platform.advance(5)
        await self.platform.settle()

    async def _check_everything(self) -> None:
        store, cluster = self.platform.store, self.platform.cluster
        contents = await store.load()
        assert contents.jobs == contents.gangs == ()
        assert cluster.gangs == {}
        found = await store.jobs(frozenset(self.accepted))
        assert found.keys() == self.accepted
        assert contents.sequence >= len(found)
        assert len({job.spec.request_id for job in found.values()}) == len(found)
        started = {name for name, _, _ in cluster.started}
        recorded = set()
        for job in found.values():
            assert job.state.is_final
            for end in await store.ends(job.sequence):
                name = job.id if job.spec.array is None else f"{job.id}.{end.element}"
                recorded.add(f"{name}-a{end.attempt}")
            await self._check_history(job.sequence, job.spec.elements)
        # What was ordered to stop before it began has a record and no start.
        assert started <= recorded

    async def _check_history(self, sequence: int, elements: int) -> None:
        """The events of a job, and of each element, follow each other by the table to one end."""
        chains: defaultdict[int | None, list[Any]] = defaultdict(list)
        for event in await self.platform.store.history(sequence, 0, 100_000):
            if event.element is None:
                chains[None].append(event)
            else:
                for element in range(event.element, event.element + event.count):
                    chains[element].append(event)
        for element, events in chains.items():
            first = events[0] if element is None else None
            assert first is None or first.before is None
            changes = [each for each in events if each.before not in {None, each.after}]
            state = changes[0].before if changes else None
            for event in changes:
                assert event.before is state
                assert event.after in TRANSITIONS[event.before]
                state = event.after
            assert (state or events[-1].after).is_final
        if elements > 1:
            assert chains.keys() - {None} == set(range(elements))


def _fields(spec: JobSpec) -> dict[str, Any]:
    names = ("array", "hold", "retry", "dependencies")
    return {name: getattr(spec, name) for name in names}


def _states(job: Any) -> set[JobState]:
    return {run.state for run in job.runs} or {job.state}


TestCrashes = Crashes.TestCase
TestCrashes.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
