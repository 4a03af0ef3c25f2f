"""Pools against a scheduler in memory."""

import asyncio
import itertools
from dataclasses import replace

import pytest
from gridloom_services.common.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PoolBrokenError,
    QuotaExceededError,
    UnavailableError,
    VersionMismatchError,
)
from gridloom_services.common.worker_images import WorkerImages
from gridloom_services.functions.holds import MemoryObjects
from gridloom_services.functions.pools.jobs import JobNews, MemoryPoolJobs, PoolJob
from gridloom_services.functions.pools.pools import Pools
from gridloom_services.functions.pools.sizing import Demand, PoolLoad
from gridloom_services.functions.pools.spec import PoolSpec, PoolState

SPEC = PoolSpec(b"spec", "default", resources={"cpu": 1000}, idle_timeout_s=60.0)


class Floor:
    """Holds what the test says: calls that wait, workers that are there."""

    def __init__(self):
        self.loads = {}
        self.drained = []
        self.cancelled = []
        self.refused = []
        self.has_host = True

    def load(self, pool_id):
        return self.loads.get(pool_id, PoolLoad())

    def drain(self, pool_id):
        if self.has_host:
            self.drained.append(pool_id)
        return self.has_host

    def cancel_calls(self, pool_id, reason):
        self.cancelled.append((pool_id, reason))

    def refuse_calls(self, pool_id, error):
        self.refused.append((pool_id, error))


class World:
    """The pools of one service, with all that surrounds them."""

    def __init__(self, rows=(), jobs=None, images=None):
        self.now = 1000.0
        self.rows = dict(rows)
        self.jobs = jobs or MemoryPoolJobs()
        self.floor = Floor()
        self.objects = MemoryObjects()
        numbers = itertools.count(len(self.rows))
        self.pools = Pools(
            self.jobs,
            self.floor,
            self.save,
            lambda: f"pool_{next(numbers)}",
            self.objects,
            images=images,
            clock=lambda: self.now,
        )
        self.pools.load((row, SPEC) for row in self.rows.values())
        self.jobs.set_demand(Demand(capacity={"cpu": 4000}))
        self.task = asyncio.get_running_loop().create_task(self.pools.run())

    async def save(self, row):
        self.rows[row.id] = row

    async def settle(self):
        for _ in range(40):
            await asyncio.sleep(0)

    async def work(self, pool, load):
        self.floor.loads[pool.id] = load
        self.pools.changed(pool.id)
        await self.settle()

    async def running(self, workers=1):
        pool = await self.pools.create(SPEC, "ada")
        await self.work(pool, PoolLoad(waiting=workers))
        self.jobs.tell(JobNews(pool.row.job_id, running=True))
        self.pools.worker_joined(pool.id)
        await self.settle()
        return pool

    async def end(self):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
async def world():
    made = World()
    await made.settle()
    yield made
    await made.end()


async def test_a_pool_without_calls_has_no_job(world):
    pool = await world.pools.create(SPEC, "ada")
    await world.settle()
    assert (pool.state, world.jobs.jobs) == (PoolState.IDLE, {})


async def test_calls_bring_a_job_of_the_size_that_they_need(world):
    pool = await world.running(workers=3)
    job = world.jobs.jobs[pool.row.job_id].job
    assert (job.workers, job.request_id, pool.state) == (3, f"{pool.id}-1", PoolState.RUNNING)


async def test_more_calls_let_the_job_grow(world):
    pool = await world.running()
    await world.work(pool, PoolLoad(waiting=5, running=1, workers=1))
    assert world.jobs.resizes == [(pool.row.job_id, 4)]


async def test_idle_workers_are_sent_home_after_the_idle_time(world):
    pool = await world.running()
    await world.work(pool, PoolLoad(workers=1, idle_since=(world.now,)))
    assert world.floor.drained == []
    world.now += 60.0
    world.pools.changed(pool.id)
    await world.settle()
    assert world.floor.drained == [pool.id]


async def test_idle_workers_are_given_back_when_another_job_waits(world):
    pool = await world.running()
    await world.work(pool, PoolLoad(workers=1, idle_since=(world.now,)))
    world.jobs.set_demand(Demand(1, {"cpu": 4000}))
    await world.settle()
    assert world.floor.drained == [pool.id]


async def test_idle_workers_are_given_back_when_another_pool_waits_and_stay_for_their_own(world):
    pool = await world.running()
    await world.work(pool, PoolLoad(workers=1, idle_since=(world.now,)))
    world.jobs.set_demand(Demand(0, {"cpu": 4000}, frozenset({pool.row.job_id})))
    await world.settle()
    assert world.floor.drained == []
    world.jobs.set_demand(Demand(0, {"cpu": 4000}, frozenset({"job_of_another_pool"})))
    await world.settle()
    assert world.floor.drained == [pool.id]


async def test_calls_that_come_while_the_workers_leave_get_another_job(world):
    pool = await world.running()
    first = pool.row.job_id
    world.now += 100.0
    await world.work(pool, PoolLoad(workers=1, idle_since=(1000.0,)))
    await world.work(pool, PoolLoad(waiting=1, workers=1, idle_since=(1000.0,)))
    assert pool.row.job_id != first
    assert world.jobs.jobs[pool.row.job_id].job.request_id == f"{pool.id}-2"


async def test_a_job_that_never_started_is_taken_back_when_its_calls_are_gone(world):
    pool = await world.pools.create(SPEC, "ada")
    await world.work(pool, PoolLoad(waiting=1))
    job_id = pool.row.job_id
    await world.work(pool, PoolLoad())
    assert world.jobs.jobs[job_id].news.ended
    assert (pool.state, pool.row.job_id) == (PoolState.IDLE, "")


async def test_a_crash_before_the_schedulers_answer_leads_to_the_same_job():
    before = World()
    pool = await before.pools.create(SPEC, "ada")
    await before.end()
    row = pool.begins_job()
    job_id = await before.jobs.submit(PoolJob(pool.id, pool.request_id, pool.spec, 1))
    after = World({pool.id: row}, before.jobs)  # its slots are the default, as stored
    after.floor.loads[pool.id] = PoolLoad(waiting=1)
    await after.settle()
    try:
        assert after.rows[pool.id].job_id == job_id
        assert len(after.jobs.jobs) == 1
    finally:
        await after.end()


async def test_a_job_that_ended_while_nobody_looked_is_replaced_when_there_is_work(world):
    pool = await world.running()
    first = pool.row.job_id
    world.jobs.tell(JobNews(first, ended=True))
    await world.work(pool, PoolLoad(waiting=1))
    assert pool.row.job_id not in {"", first}


async def test_a_pool_whose_jobs_fail_three_times_without_a_worker_is_broken(world):
    pool = await world.pools.create(SPEC, "ada")
    world.floor.loads[pool.id] = PoolLoad(waiting=1)
    for _ in range(3):
        world.now += 10.0
        world.pools.changed(pool.id)
        await world.settle()
        news = JobNews(pool.row.job_id, ended=True, failed=True, reason="python9: not found")
        world.jobs.tell(news)
        await world.settle()
    assert pool.state is PoolState.BROKEN
    assert "python9: not found" in pool.reason
    (pool_id, error) = world.floor.refused[0]
    assert (pool_id, type(error)) == (pool.id, PoolBrokenError)
    assert error.message == f"pool {pool.id} is broken: {pool.reason}"


async def test_an_initialiser_that_raises_breaks_the_pool_and_ends_its_job(world):
    pool = await world.running()
    world.floor.has_host = False
    await world.pools.broke(pool.id, "ValueError: no data")
    await world.settle()
    assert (pool.state, pool.reason) == (PoolState.BROKEN, "ValueError: no data")
    assert all(held.news.ended for held in world.jobs.jobs.values())


async def test_calls_of_a_pool_whose_job_is_refused_end_with_the_scheduler_s_own_error(world):
    refusal = InvalidRequestError('queue "gpuu" does not exist', field="queue", given="gpuu")
    world.jobs.refusal = refusal
    pool, _ = world.pools.shared(SPEC, "ada")
    await world.work(pool, PoolLoad(waiting=1))
    assert (pool.state, pool.reason) == (PoolState.BROKEN, 'queue "gpuu" does not exist')
    for error in (world.floor.refused[0][1], pool.broken_by):
        assert (type(error), error.details) == (InvalidRequestError, refusal.details)


async def test_after_a_restart_a_refused_pool_s_calls_are_told_the_scheduler_s_own_error(world):
    world.jobs.refusal = QuotaExceededError("the queue allows 2 cpu", quota="cpu")
    pool, _ = world.pools.shared(SPEC, "ada")
    await world.work(pool, PoolLoad(waiting=1))
    assert pool.state is PoolState.BROKEN
    again = World(world.rows)
    await again.settle()
    ((pool_id, error),) = again.floor.refused
    assert (pool_id, type(error), error.message) == (
        pool.id,
        QuotaExceededError,
        "the queue allows 2 cpu",
    )
    assert error.details == {"quota": "cpu"}
    assert again.pools.get(pool.id).broken_by.details == {"quota": "cpu"}
    await again.end()


async def test_a_pool_of_ones_own_that_the_scheduler_would_refuse_is_not_made(world):
    world.jobs.refusal = QuotaExceededError("the queue allows 2 cpu", quota="cpu")
    with pytest.raises(QuotaExceededError, match="allows 2 cpu"):
        await world.pools.create(SPEC, "ada", "mine")
    assert world.pools.all() == []
    world.jobs.refusal = None
    await world.pools.create(SPEC, "ada", "mine")
    assert world.jobs.jobs == {}


async def test_one_request_for_a_pool_that_comes_twice_at_once_makes_it_once(world):
    both = [world.pools.create(SPEC, "ada", "mine") for _ in range(2)]
    first, second = await asyncio.gather(*both)
    assert first is second
    assert world.pools.all() == [first]


async def test_a_scheduler_that_is_away_is_asked_again(world):
    pool = await world.pools.create(SPEC, "ada")
    world.jobs.refusal = UnavailableError("not now")
    await world.work(pool, PoolLoad(waiting=1))
    assert pool.state is PoolState.STARTING
    world.jobs.refusal = None
    world.now += 1.0
    world.pools.changed(pool.id)
    await world.settle()
    assert pool.state is PoolState.RUNNING


async def test_a_closed_pool_cancels_what_waits_and_ends_its_workers(world):
    pool = await world.running()
    job_id = pool.row.job_id
    await world.pools.close(pool.id)
    await world.settle()
    assert world.floor.cancelled == [(pool.id, f"pool {pool.id} was closed")]
    assert world.floor.drained == [pool.id]
    world.jobs.tell(JobNews(job_id, ended=True))
    await world.settle()
    assert pool.state is PoolState.CLOSED


async def test_what_workers_need_is_kept_until_the_pool_is_closed(world):
    spec = PoolSpec(b"large", "default", objects=("sha256:1", "sha256:2"))
    pool = await world.pools.create(spec, "ada")
    assert world.objects.held[pool.id] == {"sha256:1", "sha256:2"}
    await world.pools.close(pool.id)
    await world.settle()
    assert pool.state is PoolState.CLOSED
    assert not world.objects.held.get(pool.id)


async def test_equal_specifications_share_an_automatic_pool_until_it_breaks(world):
    first, is_new = world.pools.shared(SPEC, "ada")
    second, again = world.pools.shared(SPEC, "bob")
    assert (first is second, is_new, again) == (True, True, False)
    await world.pools.broke(first.id, "no")
    third, is_new = world.pools.shared(SPEC, "ada")
    assert (third is not first, is_new) == (True, True)


async def test_the_same_request_makes_one_pool_and_another_is_refused(world):
    first = await world.pools.create(SPEC, "ada", "mine")
    assert await world.pools.create(SPEC, "ada", "mine") is first
    other = PoolSpec(b"other", "default")
    with pytest.raises(ConflictError, match="made another pool before"):
        await world.pools.create(other, "ada", "mine")


async def test_a_pool_may_be_given_another_size_until_it_is_closed(world):
    pool = await world.running(workers=3)
    load = PoolLoad(waiting=9, running=3, workers=3)
    await world.work(pool, load)
    await world.pools.respecify(pool.id, PoolSpec(b"two", "default", workers=2))
    await world.settle()
    assert world.jobs.resizes[-1] == (pool.row.job_id, 2)
    assert world.rows[pool.id].body == b"two"
    await world.pools.close(pool.id)
    with pytest.raises(ConflictError, match="is CLOSING"):
        await world.pools.respecify(pool.id, SPEC)


async def test_what_cannot_be_is_refused_by_name(world):
    with pytest.raises(InvalidRequestError, match="workers of a pool cannot be -1"):
        await world.pools.create(PoolSpec(b"", "default", workers=-1), "ada")
    with pytest.raises(NotFoundError, match="pool_9 does not exist"):
        world.pools.get("pool_9")


# ---- after a restart


async def test_nothing_is_made_of_absence_until_processes_have_had_the_time_to_come_back(world):
    pool = await world.running(workers=4)
    await world.end()
    after = World({pool.id: world.rows[pool.id]}, world.jobs)
    after.floor.has_host = False
    await after.settle()
    assert not world.jobs.jobs[pool.row.job_id].news.ended
    after.now += 1
    await after.work(pool, PoolLoad(waiting=1, workers=1))
    assert world.jobs.resizes == []
    after.now += 3
    await after.work(pool, PoolLoad(waiting=2, workers=4, idle_since=(after.now,) * 4))
    assert world.jobs.resizes == []
    await after.work(pool, PoolLoad())
    assert after.pools.get(pool.id).row.job_id == pool.row.job_id
    after.floor.has_host = True
    await after.work(pool, PoolLoad())
    assert after.floor.drained == [pool.id]
    await after.end()


# ---- images


async def test_what_is_asked_of_the_scheduler_has_the_image_of_the_pools_python():
    world = World(images=WorkerImages({"3.11": "worker:py3.11"}))
    spec = replace(SPEC, python="/home/ada/python", python_version="3.11")
    pool = await world.pools.create(spec, "ada")
    await world.work(pool, PoolLoad(waiting=1))
    (held,) = world.jobs.jobs.values()
    assert (held.job.spec.image, held.job.spec.python) == ("worker:py3.11", "")
    await world.end()


async def test_a_pool_of_a_python_without_an_image_is_refused_and_not_kept():
    world = World(images=WorkerImages({"3.11": "worker:py3.11"}))
    with pytest.raises(VersionMismatchError, match=r"3\.13"):
        await world.pools.create(replace(SPEC, python_version="3.13"), "ada")
    with pytest.raises(VersionMismatchError, match=r"3\.13"):
        world.pools.shared(replace(SPEC, python_version="3.13"), "ada")
    assert world.pools.all() == []
    await world.end()


async def test_a_stored_pool_is_loaded_although_its_image_has_gone():
    first = World()
    pool = await first.pools.create(SPEC, "ada")
    await first.end()
    second = World(first.rows, images=WorkerImages({"3.12": "worker:py3.12"}))
    assert second.pools.get(pool.id).spec.image == ""
    await second.end()
