"""Why a job waits, behind what, and how many wait for others."""

from __future__ import annotations

import pytest
from gridloom_services.scheduler.engine import EngineError
from gridloom_services.scheduler.engine import events as ev
from gridloom_services.scheduler.engine.decisions import Explanation, Reason

from tests.unit.scheduler.engine.build import QUEUE, Cluster, role


def why(cluster, job, now=0):
    told = cluster.engine.explain(job, now)
    return told.reason, told.resource, told.asked, told.available


def test_a_job_that_runs_does_not_wait():
    cluster = Cluster(4)
    cluster.submit("a")
    cluster.cycle()
    assert cluster.engine.explain("a", 0) == Explanation(Reason.NONE)


def test_a_job_that_nothing_holds_back_starts_in_the_next_cycle():
    cluster = Cluster(4)
    cluster.submit("a")
    assert why(cluster, "a") == (Reason.NEXT_CYCLE, "", 0, 0)


def test_a_closed_queue_is_named_first():
    cluster = Cluster(4)
    cluster.tell(ev.QueueSet(QUEUE, closed=True))
    cluster.submit("a", role(cpu=9))
    assert why(cluster, "a")[0] is Reason.QUEUE_CLOSED


def test_an_array_at_its_limit_says_so():
    cluster = Cluster(4)
    cluster.submit("a", elements=3, max_parallel=2)
    cluster.cycle()
    assert why(cluster, "a") == (Reason.ARRAY_LIMIT, "", 2, 2)


def test_a_gang_that_no_longer_fits_anywhere_names_what_it_would_need():
    cluster = Cluster(4, 8)
    cluster.submit("a", role(cpu=8))
    cluster.tell(ev.NodeRemoved("n1"))
    assert why(cluster, "a") == (Reason.NODES_TOO_SMALL, "cpu", 8, 4)


def test_a_gang_that_only_cordoned_nodes_could_hold_waits_for_resources():
    cluster = Cluster(4, 8)
    cluster.submit("a", role(cpu=8))
    cluster.tell(ev.NodeSet("n1", {"cpu": 8}, schedulable=False))
    assert why(cluster, "a") == (Reason.RESOURCES, "cpu", 8, 4)


def test_a_quota_names_what_it_leaves():
    cluster = Cluster(8)
    cluster.tell(ev.QueueSet(QUEUE, quota={"cpu": 5}))
    cluster.submit("a", role(cpu=4))
    cluster.submit("b", role(2, cpu=1))
    cluster.cycle()
    assert why(cluster, "b") == (Reason.QUEUE_QUOTA, "cpu", 2, 1)


def test_the_scarcest_resource_is_named_with_what_is_free():
    cluster = Cluster()
    cluster.tell(ev.NodeSet("n0", {"cpu": 8, "memory": 8}))
    cluster.submit("a", role(cpu=2, memory=6))
    cluster.cycle()
    cluster.submit("b", role(cpu=7, memory=8))
    assert why(cluster, "b") == (Reason.RESOURCES, "memory", 8, 2)


def test_a_replica_too_large_for_what_is_left_on_any_node_names_the_best():
    cluster = Cluster(4, 4)
    cluster.submit("a", role(2, cpu=3), role(1, name="b", cpu=1))
    cluster.cycle()
    cluster.tell(ev.NodeSet("n0", {"cpu": 6}))
    cluster.submit("c", role(cpu=3))
    assert why(cluster, "c") == (Reason.RESOURCES, "cpu", 3, 2)


def test_room_that_a_promise_holds_is_a_matter_of_priority():
    cluster = Cluster(4)
    cluster.submit("run", role(cpu=2), limit=100)
    cluster.submit("large", role(cpu=4))
    cluster.submit("long", role(cpu=2), limit=1000)
    cluster.cycle()
    assert why(cluster, "long") == (Reason.PRIORITY, "cpu", 2, 0)
    assert cluster.engine.explain("large", 0).promised_start == 100


def test_the_jobs_ahead_are_those_of_the_same_queue_in_order():
    cluster = Cluster(1)
    cluster.tell(ev.QueueSet("p/other"))
    cluster.submit("run")
    cluster.cycle()
    for number in range(150):
        cluster.submit(f"j{number}", queue="p/other" if number % 3 == 0 else QUEUE)
    cluster.submit("vip", priority=1)
    told = cluster.engine.explain("j149", 0)
    mine = ["vip", *(f"j{number}" for number in range(149) if number % 3)]
    assert told.ahead == tuple(mine[:100])
    assert told.ahead_count == len(mine)
    assert cluster.engine.explain("vip", 0).ahead == ()


def test_growth_is_not_ahead_of_a_job():
    cluster = Cluster(1)
    cluster.submit("pool", role(3, 1, cpu=1))
    cluster.cycle()
    cluster.submit("a")
    told = cluster.engine.explain("a", 0)
    assert (told.ahead, told.ahead_count) == ((), 0)


def test_an_unknown_job_is_an_error():
    with pytest.raises(EngineError, match="'none'"):
        Cluster(1).engine.explain("none", 0)


def test_only_jobs_that_others_hold_back_count_as_waiting():
    cluster = Cluster(2)
    cluster.tell(
        ev.QueueSet("p/closed", closed=True),
        ev.QueueSet("p/poor", quota={"cpu": 1}),
        ev.QueueSet("p/full", quota={"cpu": 1}),
    )
    cluster.submit("pool", role(4, 1, cpu=1))
    cluster.submit("full", queue="p/full")
    cluster.cycle()
    assert cluster.engine.waiting() == 1
    cluster.submit("closed", queue="p/closed")
    cluster.submit("poor", role(cpu=2), queue="p/poor")
    cluster.submit("large", role(cpu=3))
    assert cluster.engine.waiting() == 1
    cluster.submit("next", queue="p/full")
    cluster.submit("array", elements=50)
    assert cluster.engine.waiting() == 3
    assert cluster.engine.waiting(("pool", "array", "unknown")) == 1
    own = ("pool", "array", "closed", "unknown")
    assert cluster.engine.waiting_apart(own) == (1, {"pool", "array"})
    assert cluster.engine.waiting_apart(()) == (3, frozenset())
