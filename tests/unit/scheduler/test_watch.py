from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from gridloom_services.common.errors import ConflictError, InvalidRequestError
from gridloom_services.scheduler import watch
from gridloom_services.scheduler.demand import watch_demand
from gridloom_services.scheduler.query import JobQuery
from gridloom_services.scheduler.states import JobState
from gridloom_services.scheduler.streams import JobWatcher, until

from tests.support.scheduler import a_role, a_spec, an_array

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gridloom.api.scheduler.v1 import scheduler_pb2

    from tests.support.scheduler import Platform


class Reader:
    """Reads a stream in the background, as a client does."""

    def __init__(self, source: AsyncIterator[scheduler_pb2.WatchJobsResponse]) -> None:
        self.messages: list[scheduler_pb2.WatchJobsResponse] = []
        self._task = asyncio.ensure_future(self._read(source))

    async def _read(self, source: AsyncIterator[scheduler_pb2.WatchJobsResponse]) -> None:
        async for message in source:
            self.messages.append(message)

    async def stop(self) -> int:
        """Stop reading; the revision of the last message."""
        self._task.cancel()
        await asyncio.wait([self._task])
        return self.messages[-1].revision

    @property
    def states(self) -> list[tuple[str, str]]:
        """Jobs' ids and states, in the order told."""
        return [
            (message.job.id, JobState(message.job.state).name)
            for message in self.messages
            if message.HasField("job")
        ]


def reading(platform: Platform, query: JobQuery | None = None, revision: int = 0) -> Reader:
    return Reader(JobWatcher(platform.control, query or JobQuery()).watch(revision))


async def test_the_present_state_comes_first_then_a_mark_then_changes(platform: Platform):
    (job_id,) = await platform.submit()
    reader = reading(platform)
    await platform.settle()
    assert reader.states == [(job_id, "RUNNING")]
    assert [(each.snapshot, each.synced) for each in reader.messages] == [
        (True, False),
        (False, True),
    ]
    await platform.finish(f"{job_id}-a1")
    assert reader.states[1:] == [(job_id, "SUCCEEDED")]
    await reader.stop()


async def test_every_change_of_a_job_is_told_in_order(platform: Platform):
    reader = reading(platform)
    await platform.settle()
    (job_id,) = await platform.submit()
    assert reader.states == [(job_id, "QUEUED"), (job_id, "STARTING"), (job_id, "RUNNING")]
    revisions = [message.revision for message in reader.messages]
    assert revisions == sorted(revisions)
    await reader.stop()


@pytest.mark.parametrize("is_far_behind", [False, True])
async def test_resuming_tells_what_was_missed_and_nothing_twice(
    platform: Platform, *, is_far_behind: bool
):
    (job_id,) = await platform.submit()
    reader = reading(platform)
    await platform.settle()
    seen = await reader.stop()
    (other,) = await platform.submit()
    await platform.finish(f"{job_id}-a1", exit_code=1)
    if is_far_behind:  # what a restart forgets is read from the store
        await platform.restart()
    resumed = reading(platform, revision=seen)
    await platform.settle()
    assert resumed.states == [
        (other, "QUEUED"),
        (other, "STARTING"),
        (other, "RUNNING"),
        (job_id, "FAILED"),
    ]
    await resumed.stop()


async def test_past_states_are_told_as_they_were(platform: Platform):
    (job_id,) = await platform.submit(a_spec(hold=True))
    await platform.control.release([job_id])
    await platform.settle()
    await platform.finish(f"{job_id}-a1", exit_code=3)
    await platform.restart()
    reader = reading(platform, revision=1)
    await platform.settle()
    queued, starting, running, failed = (message.job for message in reader.messages)
    assert (queued.reason, queued.exit_code, queued.HasField("started_at")) == (
        "released",
        0,
        False,
    )
    assert (starting.attempt, starting.HasField("ended_at")) == (1, False)
    assert running.HasField("started_at")
    assert not running.HasField("ended_at")
    assert (failed.exit_code, failed.HasField("ended_at")) == (3, True)
    await reader.stop()


async def test_a_reader_that_is_behind_the_ring_reads_the_store(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(watch, "RING", 4)
    monkeypatch.setattr(watch, "PAGE", 3)
    hub = watch.WatchHub(platform.store, 0)
    ids = await platform.submit(*(a_spec(a_role(cpu=100)) for _ in range(5)))
    hub._ring = type(hub._ring)(maxlen=4)
    hub.publish(list(platform.control.hub._ring), platform.control.hub.revision)
    found = []
    source = hub.follow(0)
    while len(found) < 15:
        found += await anext(source)
    await source.aclose()
    assert [change.revision for change in found] == list(range(1, 16))
    assert {change.job.id for change in found} == set(ids)


async def test_an_array_is_told_once_a_commit_with_all_its_states(platform: Platform):
    reader = reading(platform)
    await platform.settle()
    (job_id,) = await platform.submit(a_spec(array=an_array(4)))
    last = reader.messages[-1].job
    assert [(run.first, run.count, run.state) for run in last.array.runs] == [(0, 4, 4)]
    for element in range(4):
        platform.cluster.finish(f"{job_id}.{element}-a1")
    told = len(reader.messages)
    await platform.settle()
    assert len(reader.messages) == told + 1
    assert reader.messages[-1].job.state == JobState.SUCCEEDED
    await reader.stop()


async def test_only_what_matches_is_told_and_what_becomes_of_it(platform: Platform):
    query = JobQuery(states=frozenset({JobState.RUNNING}))
    reader = reading(platform, query)
    await platform.settle()
    job_id, _ = await platform.submit(a_spec(), a_spec(a_role(cpu=4000)))
    await platform.finish(f"{job_id}-a1")
    assert reader.states[:2] == [(job_id, "RUNNING"), (job_id, "SUCCEEDED")]
    await reader.stop()


async def test_a_revision_to_come_is_refused(platform: Platform):
    with pytest.raises(InvalidRequestError, match="is to come"):
        await anext(JobWatcher(platform.control, JobQuery()).watch(999))


async def test_a_revision_that_is_not_kept_is_refused_with_what_to_do(platform: Platform):
    (job_id,) = await platform.submit()
    await platform.finish(f"{job_id}-a1")
    await platform.submit()
    await platform.store.compact(round(platform.clock.now() * 1e6) + 1, 1000)
    with pytest.raises(ConflictError, match="begin anew") as caught:
        await anext(JobWatcher(platform.control, JobQuery()).watch(1))
    assert caught.value.details["field"] == "from_revision"


async def test_a_large_present_state_comes_whole(platform: Platform, monkeypatch):
    monkeypatch.setattr("gridloom_services.scheduler.streams.SNAPSHOT_PAGE", 3)
    ids = await platform.submit(*(a_spec(hold=True) for _ in range(7)))
    reader = reading(platform)
    await platform.settle()
    assert [job_id for job_id, _ in reader.states] == ids[::-1]
    await reader.stop()


async def test_streams_end_when_the_platform_stops(platform: Platform):
    stop = asyncio.Event()
    source = until(stop, JobWatcher(platform.control, JobQuery()).watch(0))
    assert (await anext(source)).synced
    waiting = asyncio.ensure_future(anext(source))
    await platform.settle()
    stop.set()
    with pytest.raises(Exception, match="the platform is stopping"):
        await waiting


async def test_demand_is_told_at_once_and_at_each_change(platform: Platform):
    source = watch_demand(platform.control, frozenset())
    first = await anext(source)
    assert (first.waiting_jobs, first.free["cpu"], first.capacity["cpu"]) == (0, 4000, 4000)
    pool, _ = await platform.submit(a_spec(a_role(cpu=3000)), a_spec(a_role(cpu=2000)))
    second = await anext(source)
    assert (second.waiting_jobs, second.free["cpu"]) == (1, 1000)
    await source.aclose()
    own = watch_demand(platform.control, frozenset({pool}))
    assert (await anext(own)).waiting_jobs == 1
    await own.aclose()
