"""The crew of all pools, with links that are lists."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from gridloom.api.functions.v1 import worker_pb2
from gridloom_services.common.auth import Principal
from gridloom_services.common.metrics import NO_METRICS
from gridloom_services.functions.call import Status
from gridloom_services.functions.metrics import CallMetrics
from gridloom_services.functions.workers import hub as hubs
from gridloom_services.functions.workers.hub import WorkerHub

from tests.support.eventually import eventually
from tests.unit.functions.rig import POOL, Rig

EPOCH = 4


class Link:
    """A connection that was let in; what is sent to it is kept."""

    def __init__(self, name, job="job_1", attempt=1, *, host="", slots=1):
        self.is_host = not host
        self.worker_id = name
        self.pool_id = POOL
        self.principal = Principal("x", "gang", "default", job, attempt)
        self.hello = worker_pb2.WorkerHello(worker_id=name, pool_id=POOL, host_id=host, slots=slots)
        self.is_open = True
        self.sent = []

    def send(self, frame):
        self.sent.append(frame)

    def close(self):
        self.is_open = False

    @property
    def batches(self):
        return [frame.batch for frame in self.sent if frame.HasField("batch")]

    @property
    def cancels(self):
        return [frame.cancel for frame in self.sent if frame.HasField("cancel")]


class Register:
    """The pools, as the hub knows them."""

    def __init__(self):
        self.job = "job_1"
        self.joined = self.left = 0
        self.drains = False
        self.broken = []

    def admits(self, pool_id, python):
        del pool_id, python

    def job_of(self, pool_id):
        return self.job

    def worker_joined(self, pool_id):
        self.joined += 1

    def is_draining(self, pool_id):
        del pool_id
        return self.drains

    def worker_left(self, pool_id):
        self.left += 1

    def broke(self, pool_id, reason):
        self.broken.append(reason)


class Answers:
    """Takes statuses of plain calls only."""

    def __init__(self, rig):
        self._rig = rig
        self.printed = []

    def take(self, worker_id, results, now):
        for run in results.runs:
            place = (worker_id, results.batch, run.first_unit)
            self._rig.dispatcher.answer(place, run.statuses, list(run.values), now)
        if results.last:
            self._rig.dispatcher.batch_done(worker_id, results.batch, now)

    def print(self, worker_id, output):
        self.printed.append((worker_id, output.data))


@pytest.fixture
async def floor():
    rig = Rig()
    register, answers = Register(), Answers(rig)
    metrics = CallMetrics(NO_METRICS)
    hub = WorkerHub(rig.dispatcher, answers, register, metrics, lambda: EPOCH)
    hub.changed = lambda: None

    def pump():
        for lease in rig.dispatcher.pump(rig.held.pool(POOL), asyncio.get_running_loop().time()):
            hub.prepare(lease)()

    yield SimpleNamespace(rig=rig, hub=hub, register=register, answers=answers, pump=pump)
    hub.close()


def results(batch, *statuses, epoch=EPOCH):
    run = worker_pb2.UnitResults(statuses=bytes(statuses), values=[b"v"] * len(statuses))
    answer = worker_pb2.Results(epoch=epoch, batch=batch.number, runs=[run], last=True)
    return worker_pb2.WorkerFrame(results=answer)


async def test_code_is_sent_to_each_worker_once(floor):
    worker = Link("w1", host="h")
    floor.hub.joined(worker)
    for _ in range(2):
        floor.rig.submit(floor.rig.lane())
        floor.pump()
        floor.hub.received(worker, results(worker.batches[-1], Status.OK))
    assert [len(batch.functions) for batch in worker.batches] == [1, 0]
    assert {batch.epoch for batch in worker.batches} == {EPOCH}


async def test_an_answer_of_another_epoch_is_refused(floor):
    worker = Link("w1", host="h")
    floor.hub.joined(worker)
    floor.rig.submit(floor.rig.lane())
    floor.pump()
    floor.hub.received(worker, results(worker.batches[0], Status.OK, epoch=EPOCH - 1))
    assert floor.rig.record.results == {}
    assert floor.rig.dispatcher.stale_answers == 1


async def test_who_comes_before_the_job_is_known_waits_for_it(floor):
    floor.register.job = ""
    early, stranger = Link("w1", host="h"), Link("w2", "job_2", host="h")
    floor.hub.joined(early)
    floor.hub.joined(stranger)
    assert floor.register.joined == 0
    floor.register.job = "job_1"
    await eventually(lambda: floor.register.joined == 1)
    await eventually(lambda: not stranger.is_open)
    assert early.is_open


async def test_an_older_attempt_is_sent_away(floor):
    floor.hub.joined(Link("new", attempt=2, host="h"))
    old = Link("old", attempt=1, host="h")
    floor.hub.joined(old)
    assert not old.is_open


async def test_a_worker_that_comes_again_starts_afresh(floor):
    first, second = Link("w1", host="h"), Link("w1", host="h")
    floor.hub.joined(first)
    floor.rig.submit(floor.rig.lane())
    floor.pump()
    floor.hub.joined(second)
    assert not first.is_open
    floor.hub.left(first)
    floor.pump()
    assert [len(batch.functions) for batch in second.batches] == [1]
    assert second.batches[0].runs[0].attempt == 1


async def test_without_a_word_of_the_host_the_oldest_call_is_blamed_after_a_moment(
    floor, monkeypatch
):
    monkeypatch.setattr(hubs, "HOST_SPEAKS_WITHIN_S", 0.02)
    worker = Link("w1", host="h")
    floor.hub.joined(Link("h"))
    floor.hub.joined(worker)
    floor.rig.submit(floor.rig.lane(item_us=1), 3)
    floor.pump()
    floor.hub.left(worker)
    assert floor.register.left == 0
    await eventually(lambda: floor.register.left == 1)
    assert [recall.sequence for recall, _ in floor.rig.record.retries] == [1]


async def test_without_a_host_a_lost_worker_is_dealt_with_at_once(floor):
    worker = Link("w1", host="h")
    floor.hub.joined(worker)
    floor.rig.submit(floor.rig.lane())
    floor.pump()
    floor.hub.left(worker)
    assert floor.register.left == 1


async def test_a_worker_that_leaves_with_nothing_is_nobodys_fault(floor):
    worker = Link("w1", host="h")
    floor.hub.joined(Link("h"))
    floor.hub.joined(worker)
    floor.hub.left(worker)
    assert floor.register.left == 1
    assert floor.rig.record.retries == []


async def test_a_running_cancel_goes_to_the_host_too(floor):
    host, worker = Link("h"), Link("w1", host="h")
    floor.hub.joined(host)
    floor.hub.joined(worker)
    lane = floor.rig.lane()
    floor.rig.submit(lane)
    floor.pump()
    _, notices = floor.rig.dispatcher.cancel(lane, 1, 1)
    for notice in notices:
        floor.hub.interrupt(notice, running=False, grace_ms=0)
    assert (len(worker.cancels), len(host.cancels)) == (1, 0)
    for notice in notices:
        floor.hub.interrupt(notice, running=True, grace_ms=500)
    assert (worker.cancels[1].running, host.cancels[0].grace_ms) == (True, 500)


async def test_a_worker_silent_far_beyond_a_time_out_is_given_up(floor):
    host, worker = Link("h"), Link("w1", host="h")
    floor.hub.joined(host)
    floor.hub.joined(worker)
    floor.rig.submit(floor.rig.lane(timeout_ms=1))
    floor.pump()
    floor.hub.give_up_hung(10.0)
    assert worker.is_open
    floor.rig.dispatcher.workers["w1"].progress_at -= 60.0
    floor.hub.give_up_hung(10.0)
    assert not worker.is_open
    assert host.cancels[0].running
    assert floor.rig.record.statuses() == {1: Status.TIMEOUT}


async def test_the_last_words_of_a_dead_worker_come_from_its_host(floor):
    host, worker = Link("h"), Link("w1", host="h")
    floor.hub.joined(host)
    floor.hub.joined(worker)
    output = worker_pb2.WorkerOutput(batch=1, data=b"oops")
    floor.hub.received(host, worker_pb2.WorkerFrame(output=output))
    assert floor.answers.printed == [("w1", b"oops")]


async def test_a_host_that_cannot_make_workers_breaks_the_pool(floor):
    host = Link("h")
    floor.hub.joined(host)
    floor.hub.received(host, worker_pb2.WorkerFrame(host=worker_pb2.HostStatus(workers=2)))
    broken = worker_pb2.HostStatus(broken="no licence")
    floor.hub.received(host, worker_pb2.WorkerFrame(host=broken))
    assert floor.register.broken == ["no licence"]


async def test_draining_reaches_the_hosts_of_a_pool_and_no_worker_gets_more(floor):
    assert not floor.hub.drain(POOL)
    host, worker = Link("h"), Link("w1", host="h")
    floor.hub.joined(host)
    floor.hub.joined(worker)
    assert floor.hub.drain(POOL)
    assert host.sent[-1].HasField("drain")
    floor.rig.submit(floor.rig.lane())
    floor.pump()
    assert worker.batches == []


async def test_a_host_that_comes_when_the_others_were_told_to_end_is_told_so_too(floor):
    floor.register.drains = True
    host, worker = Link("h"), Link("w1", host="h")
    floor.hub.joined(host)
    floor.hub.joined(worker)
    assert host.sent[-1].HasField("drain")
    floor.rig.submit(floor.rig.lane())
    floor.pump()
    assert worker.batches == []
