"""Queues: priority, quota, closing."""

from __future__ import annotations

import pytest
from gridloom_services.scheduler.engine import EngineError
from gridloom_services.scheduler.engine import events as ev

from tests.unit.scheduler.engine.build import QUEUE, Cluster, role


def test_running_work_holds_no_more_than_its_queues_quota():
    cluster = Cluster(8)
    cluster.tell(ev.QueueSet(QUEUE, quota={"cpu": 5}))
    for job in "abcd":
        cluster.submit(job, role(cpu=2))
    assert cluster.started() == ["a", "b"]
    assert cluster.used() == {"cpu": 4}
    cluster.tell(ev.Ended("a", 0, 1))
    assert cluster.started() == ["c"]


def test_a_job_that_its_quota_holds_back_blocks_nobody():
    cluster = Cluster(8)
    cluster.tell(ev.QueueSet(QUEUE, quota={"cpu": 4}), ev.QueueSet("p/other"))
    cluster.submit("a", role(cpu=3))
    cluster.submit("large", role(cpu=3))
    cluster.submit("small", role(cpu=1))
    cluster.submit("b", role(cpu=4), queue="p/other")
    decisions = cluster.cycle()
    assert [start.job for start in decisions.starts] == ["a", "small", "b"]
    assert decisions.promises == ()


def test_a_quota_of_nothing_lets_only_what_asks_for_nothing_start():
    cluster = Cluster(8)
    cluster.tell(ev.QueueSet(QUEUE, quota={"cpu": 0}))
    cluster.submit("a", role(cpu=1))
    cluster.submit("b", role(memory=0))
    assert cluster.started() == ["b"]


def test_lowering_a_quota_ends_nothing_and_starts_nothing():
    cluster = Cluster(8)
    cluster.submit("a", role(cpu=4))
    cluster.cycle()
    cluster.tell(ev.QueueSet(QUEUE, quota={"cpu": 2}))
    cluster.submit("b", role(cpu=1))
    assert cluster.started() == []
    assert cluster.used() == {"cpu": 4}


def test_a_queues_priority_is_added_to_that_of_its_jobs_also_afterwards():
    cluster = Cluster(1)
    cluster.tell(ev.QueueSet("p/vip", priority=2))
    cluster.submit("a", priority=1)
    cluster.submit("b", queue="p/vip")
    assert cluster.started() == ["b"]
    cluster.submit("c", queue="p/vip")
    cluster.tell(ev.QueueSet("p/vip", priority=-2), ev.Ended("b", 0, 1))
    assert cluster.started() == ["a"]


def test_a_closed_queue_starts_nothing_and_what_runs_goes_on():
    cluster = Cluster(4)
    cluster.submit("a")
    cluster.cycle()
    cluster.tell(ev.QueueSet(QUEUE, closed=True))
    cluster.submit("b")
    assert cluster.started() == []
    assert cluster.used() == {"cpu": 1}
    cluster.tell(ev.QueueSet(QUEUE))
    assert cluster.started() == ["b"]


def test_a_removed_queue_stays_closed_until_its_last_job_is_gone():
    cluster = Cluster(4)
    cluster.submit("a")
    cluster.cycle()
    cluster.submit("b")
    cluster.tell(ev.QueueRemoved(QUEUE))
    assert cluster.started() == []
    with pytest.raises(EngineError, match="'p/q'"):
        cluster.submit("c")
    cluster.tell(ev.JobWithdrawn("b"), ev.Ended("a", 0, 1))
    assert cluster.engine.queues() == {}
    with pytest.raises(EngineError, match="'p/q'"):
        cluster.tell(ev.QueueRemoved(QUEUE))
