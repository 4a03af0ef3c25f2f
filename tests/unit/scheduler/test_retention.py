"""Finished jobs go by age and number, and leave nothing behind, whatever happens meanwhile."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from gridloom_services.common.errors import UnavailableError
from gridloom_services.scheduler.archive import LogArchive
from gridloom_services.scheduler.inputs import MemoryKeeper
from gridloom_services.scheduler.query import JobQuery
from gridloom_services.scheduler.retention import LEAST_AGE_S, STEP_ROWS, Retention, forget_history
from gridloom_services.scheduler.states import JobState
from gridloom_services.scheduler.store.base import Changes
from gridloom_services.scheduler.store.memory import MemoryStore

from tests.support.crashing import Crash, Crashing, Fate
from tests.support.scheduler import NOW_US, a_job, an_event

if TYPE_CHECKING:
    from pathlib import Path

DAY_S = 24 * 3600.0
HOLDERS = ("", "/logs", "/inputs")


class Clock:
    def now(self) -> float:
        return NOW_US / 1e6


class Place:
    """A store of jobs that ended some days ago, their logs, and what they hold."""

    def __init__(self, folder: Path) -> None:
        self.store = MemoryStore()
        self.keeper = MemoryKeeper()
        self.folder = folder
        self.archive = LogArchive(folder, self.store, self.keeper)

    async def add(self, sequence: int, days: float | None) -> str:
        ended = {} if days is None else {"ended_us": round(NOW_US - days * DAY_S * 1e6)}
        state = JobState.QUEUED if days is None else JobState.SUCCEEDED
        job = a_job(sequence, state=state, **ended)
        await self.store.write(Changes(added={sequence: job}))
        for suffix in HOLDERS:
            await self.keeper.hold(job.id + suffix, frozenset({"sha256:1"}))
        self.archive.folder_of(f"{job.id}-a1").mkdir(parents=True)
        return job.id

    def retention(self, fate: Fate | None = None, **options: Any) -> Retention:
        def dying(part: Any) -> Any:
            return part if fate is None else Crashing(part, fate)

        awaited = options.pop("awaited", frozenset())
        options = {"keep_s": 30 * DAY_S, "most": 100} | options
        parts = (dying(self.store), dying(self.keeper), dying(self.archive), Clock())
        return Retention(*parts, lambda: awaited, **options)

    async def left(self) -> list[str]:
        """The jobs that are there; each with all that is its own, and nothing else is there."""
        ids = sorted(job.id for job in await self.store.page(JobQuery(), None, 100))
        assert sorted(self.keeper.held) == sorted(id_ + each for id_ in ids for each in HOLDERS)
        assert sorted(path.name for path in self.folder.iterdir()) == ids
        assert await self.store.leavings(100) == []
        return ids


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_what_is_too_old_goes_with_its_logs_and_objects(place: Place):
    old = [await place.add(number, 31) for number in range(1, 4)]
    kept = [await place.add(4, 29), await place.add(5, None), await place.add(6, 40)]
    await place.retention(awaited=frozenset(old[:1])).sweep()
    assert await place.left() == sorted([old[0], *kept])  # the newest of all stays


async def test_of_too_many_the_oldest_go(place: Place):
    ids = [await place.add(number, 20 - number) for number in range(1, 7)]
    await place.retention(most=2).sweep()
    assert await place.left() == ids[-2:]


async def test_what_has_just_ended_stays_whatever_is_asked_for(place: Place):
    young = [await place.add(number, LEAST_AGE_S / DAY_S / 2) for number in range(1, 4)]
    await place.retention(most=0, keep_s=0).sweep()
    assert await place.left() == young


async def test_a_store_of_objects_that_does_not_answer_is_asked_again(place: Place, monkeypatch):
    await place.add(1, 31)
    newest = await place.add(2, None)

    async def away(_: str) -> None:
        raise UnavailableError("objects does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(place.keeper, "release", away)
        await place.retention().sweep()
    assert await place.store.leavings(10) == ["job_1"]
    await place.retention().sweep()
    assert await place.left() == [newest]


async def test_history_goes_in_small_steps_until_all_that_is_old_is_gone(place: Place):
    await place.add(1, 31)
    await place.add(2, 29)
    jobs = await place.store.page(JobQuery(), None, 2)
    events = [an_event(n, jobs[n % 2]) for n in range(1, 4 * STEP_ROWS)]
    await place.store.write(Changes(events=events))
    await forget_history(place.store, round(NOW_US - 30 * DAY_S * 1e6))
    left = await place.store.events_after(0, len(events))
    assert left == [event for event in events if event.job_id == "job_2"]


async def test_a_crash_at_any_moment_leaves_nothing_behind_for_ever(tmp_path: Path):
    for moments in count():
        place = Place(tmp_path / str(moments))
        for number in (1, 2):
            await place.add(number, 31)
        newest = await place.add(3, None)
        fate = Fate()
        fate.left = moments
        try:
            await place.retention(fate).sweep()
        except Crash:
            await place.retention().sweep()
            assert await place.left() == [newest]
        else:
            assert moments > 2 * (2 + 2 * 4)
            return
