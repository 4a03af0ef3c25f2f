"""The heartbeat with a store whose commits are done when the test says so."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from gridloom_services.common.auth import administrator, set_current_principal
from gridloom_services.common.errors import StorageFullError
from gridloom_services.common.metrics import NO_METRICS
from gridloom_services.functions import cycle as cycles
from gridloom_services.functions.call import CallSpec, Function, Status
from gridloom_services.functions.desk import Desk
from gridloom_services.functions.dispatch import Worker
from gridloom_services.functions.intake import Frame
from gridloom_services.functions.limits import CallLimits
from gridloom_services.functions.metrics import CallMetrics
from gridloom_services.functions.store.memory import MemoryCallStore

from tests.support.eventually import eventually

POOL = "pool_a"
CODE = Function(hashlib.sha256(b"code").digest(), "f", b"code")
OWNER = ("default", "ada", "")
LIMITS = CallLimits("0", 1000, 1 << 20, 1 << 10, 1 << 20)


class GatedStore(MemoryCallStore):
    """Commits are done at once, or when they are let through; or they fail."""

    def __init__(self):
        super().__init__()
        self.is_gated = False
        self.waiting = []
        self.failure = None
        self.commits = []

    def commit(self, changes, reads, done):
        self.commits.append(changes)
        if self.failure is not None:
            done(self.failure)
        elif self.is_gated:
            self.waiting.append(lambda: MemoryCallStore.commit(self, changes, reads, done))
        else:
            super().commit(changes, reads, done)

    def let_through(self):
        waiting, self.waiting = self.waiting, []
        for commit in waiting:
            commit()


class Outlet:
    """Notes what is sent to workers."""

    def __init__(self):
        self.sent = []

    def prepare(self, lease):
        return lambda: self.sent.append(lease)


class Floor:
    """Every pool is fine."""

    def refusal(self, pool_id, python):
        del pool_id, python


class Bench:
    def __init__(self):
        set_current_principal(administrator("ada"))
        self.store = GatedStore()
        self.desk = Desk(self.store, LIMITS, CallMetrics(NO_METRICS))
        self.desk.intake._places = Floor()
        self.outlet = Outlet()
        self.defects = []
        self.desk.cycle._on_defect = self.defects.append
        self.session = None

    async def start(self, **options):
        await self.store.open()
        self.desk.cycle.start(self.outlet, lambda _: None, self.desk, self.desk.sessions)
        self.session = await self.desk.sessions.open(b"k" * 16, "default", "ada", "")
        self.session.delivery.attach(0, lambda: None)
        self.desk.intake.define_function(CODE)
        self.desk.intake.define_spec(self.session, CallSpec(1, CODE.digest, POOL, **options))
        await self.desk.cycle.flushed()
        self.store.commits.clear()
        return self

    def worker(self):
        self.desk.dispatcher.join(Worker("w1", POOL, "h", 1, self.desk.now()))
        self.desk.cycle.poke()

    def submit(self, count=1):
        first = self.session.accepted + 1
        self.desk.intake.accept(self.session, Frame(first, 1, [b"a"] * count))
        self.desk.cycle.poke()

    def answer(self, lease, status=Status.OK):
        place = (lease.worker_id, lease.number, 0)
        count = lease.positions
        self.desk.dispatcher.answer(place, bytes([status]) * count, [b"v"] * count, 0.0)
        self.desk.dispatcher.batch_done(lease.worker_id, lease.number, self.desk.now())
        self.desk.cycle.poke()


@pytest.fixture
async def bench():
    made = Bench()
    yield made
    await made.desk.close()


async def test_a_call_goes_to_its_worker_before_it_is_on_disk(bench):
    await bench.start()
    bench.worker()
    bench.store.is_gated = True
    bench.submit()
    await eventually(lambda: bench.outlet.sent and bench.store.waiting)
    assert bench.session.acknowledged == 0
    bench.store.let_through()
    assert bench.session.acknowledged == 1


async def test_at_most_once_waits_for_the_disk(bench):
    await bench.start(at_most_once=True)
    bench.worker()
    bench.store.is_gated = True
    bench.submit()
    await eventually(lambda: bench.store.waiting)
    assert bench.outlet.sent == []
    (attempt,) = bench.store.commits[-1].attempts
    assert attempt.begun
    bench.store.let_through()
    assert len(bench.outlet.sent) == 1


async def test_what_was_not_sent_yet_is_not_begun_when_its_worker_goes(bench):
    await bench.start(at_most_once=True)
    bench.worker()
    bench.store.is_gated = True
    bench.submit()
    await eventually(lambda: bench.store.waiting)
    bench.desk.dispatcher.leave("w1", None, 0.0)
    bench.store.let_through()
    bench.store.is_gated = False
    bench.outlet.sent.clear()
    bench.worker()
    await eventually(lambda: bench.outlet.sent)
    assert bench.desk.ledger.unfinished == 1


async def test_a_result_is_told_when_it_is_on_disk_and_not_before(bench):
    await bench.start()
    bench.worker()
    bench.submit()
    await eventually(lambda: bench.outlet.sent)
    await bench.desk.cycle.flushed()
    bench.store.is_gated = True
    bench.answer(bench.outlet.sent[0])
    await eventually(lambda: bench.store.waiting)
    assert not bench.session.delivery.pending
    bench.store.let_through()
    assert [row.values for row in bench.session.delivery.take()] == [[b"v"]]


async def test_what_comes_while_a_commit_is_under_way_shares_the_next(bench):
    await bench.start()
    bench.store.is_gated = True
    for _ in range(5):
        bench.submit()
        await asyncio.sleep(0.002)
    assert len(bench.store.commits) == 1
    bench.store.let_through()
    await eventually(lambda: len(bench.store.commits) == 2)
    assert len(bench.store.commits[1].blocks) == 4
    bench.store.let_through()
    assert bench.session.acknowledged == 5


async def test_a_lone_quick_call_is_written_together_with_its_result(bench):
    await bench.start()
    bench.desk.cycle.hold_s = 5.0
    bench.desk.held.estimate(CODE.digest).item_us = 10.0
    bench.worker()
    bench.submit()
    await eventually(lambda: bench.outlet.sent)
    await asyncio.sleep(0.01)
    assert bench.store.commits == []
    bench.answer(bench.outlet.sent[0])
    await eventually(lambda: bench.store.commits)
    (changes,) = bench.store.commits
    assert (changes.blocks, len(changes.results)) == ([], 1)
    assert bench.session.acknowledged == 1


async def test_a_lone_call_is_held_for_as_long_as_commits_take(bench, monkeypatch):
    monkeypatch.setattr(cycles, "MOST_HOLD_S", 60.0)
    await bench.start()
    bench.desk.cycle._commit_s = 60.0  # as of a database that is far away
    bench.desk.held.estimate(CODE.digest).item_us = 10.0
    bench.worker()
    bench.submit()
    await eventually(lambda: bench.outlet.sent)
    await asyncio.sleep(0.01)
    assert bench.store.commits == []
    bench.answer(bench.outlet.sent[0])
    await eventually(lambda: bench.store.commits)
    assert (bench.store.commits[0].blocks, bench.session.acknowledged) == ([], 1)


@pytest.mark.parametrize("item_us", [None, 10_000.0])
async def test_a_call_that_may_take_long_is_not_held(bench, item_us):
    await bench.start()
    bench.desk.cycle.hold_s = 5.0
    bench.desk.held.estimate(CODE.digest).item_us = item_us
    bench.worker()
    bench.submit()
    await eventually(lambda: bench.session.acknowledged == 1)


async def test_a_call_without_a_worker_is_not_held(bench):
    await bench.start()
    bench.desk.cycle.hold_s = 5.0
    bench.desk.held.estimate(CODE.digest).item_us = 10.0
    bench.submit()
    await eventually(lambda: bench.session.acknowledged == 1)


async def test_a_full_disk_is_tried_again_with_the_same_changes(bench, monkeypatch):
    monkeypatch.setattr(cycles, "RETRY_S", 0.01)
    await bench.start()
    bench.store.failure = StorageFullError("the disk is full")
    bench.submit(3)
    await eventually(lambda: bench.desk.cycle.trouble)
    assert bench.session.acknowledged == 0
    bench.submit(2)
    bench.store.failure = None
    await eventually(lambda: bench.session.acknowledged == 5)
    assert bench.desk.cycle.trouble is None
    assert bench.defects == []


async def test_nothing_goes_to_workers_while_nothing_can_be_written(bench):
    await bench.start()
    bench.store.failure = StorageFullError("the disk is full")
    bench.submit()
    await eventually(lambda: bench.desk.cycle.trouble)
    bench.worker()
    bench.submit()
    await asyncio.sleep(0.01)
    assert bench.outlet.sent == []


async def test_a_question_does_not_wait_for_a_disk_that_is_full(bench):
    await bench.start()
    bench.store.is_gated = True
    bench.submit()
    await eventually(lambda: bench.store.waiting)
    early = asyncio.create_task(bench.desk.cycle.readable())
    await asyncio.sleep(0)
    assert not early.done()
    bench.store.failure = StorageFullError("the disk is full")
    bench.submit()
    bench.store.let_through()  # and the next commit fails
    await asyncio.wait_for(early, 1)
    assert bench.desk.cycle.trouble
    await asyncio.wait_for(bench.desk.cycle.readable(), 1)


async def test_a_question_waits_for_what_was_decided_before(bench):
    await bench.start()
    bench.store.is_gated = True
    bench.submit()
    question = asyncio.create_task(bench.desk.cycle.readable())
    await asyncio.sleep(0.01)
    assert not question.done()
    bench.store.is_gated = False
    bench.store.let_through()
    await asyncio.wait_for(question, 1)


async def test_a_defect_is_reported_and_not_lived_with(bench, caplog):
    await bench.start()
    bench.outlet.prepare = None
    bench.worker()
    bench.submit()
    await eventually(lambda: bench.defects)
    assert "defect" in caplog.text


async def test_flushed_waits_for_what_was_decided_before(bench):
    await bench.start()
    bench.store.is_gated = True
    bench.submit()
    flushed = asyncio.create_task(bench.desk.cycle.flushed())
    await asyncio.sleep(0.01)
    assert not flushed.done()
    bench.store.let_through()
    await eventually(lambda: flushed.done() or (bench.store.let_through() or False))


async def test_under_load_commits_are_spaced(bench):
    await bench.start()
    bench.desk.held.estimate(CODE.digest).item_us = 1.0
    bench.worker()
    bench.submit(4000)
    await eventually(lambda: bench.outlet.sent)
    before = len(bench.store.commits)
    for _ in range(200):
        bench.desk.ledger.touch(bench.session)
        bench.desk.cycle.poke()
        await asyncio.sleep(0)
    assert len(bench.store.commits) - before < 100


async def test_the_result_of_a_lone_call_does_not_wait_with_the_results_of_a_flood(
    bench, monkeypatch
):
    await bench.start()
    lone = await bench.desk.sessions.open(b"l" * 16, *OWNER)
    bench.desk.intake.define_spec(lone, CallSpec(1, CODE.digest, POOL))
    monkeypatch.setattr(cycles, "_LEAST_PAUSE_S", 3600)
    monkeypatch.setattr(cycles, "_MOST_PAUSE_S", 3600)
    bench.desk.held.estimate(CODE.digest).item_us = 1.0
    bench.worker()
    bench.submit(4000)
    await eventually(lambda: bench.outlet.sent)
    flood, bench.session = bench.session, lone
    bench.submit()
    await eventually(lambda: bench.outlet.sent[-1].lane.session == lone.number)
    bench.answer(bench.outlet.sent[0])
    await asyncio.sleep(0.01)
    assert not flood.delivery.committed
    bench.answer(bench.outlet.sent[-1])
    await eventually(lambda: lone.delivery.committed == 1)
    assert flood.delivery.committed
