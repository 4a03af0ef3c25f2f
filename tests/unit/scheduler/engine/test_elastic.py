"""Elastic roles: replicas that come and go singly."""

from __future__ import annotations

import pytest
from gridloom_services.scheduler.engine import EngineError
from gridloom_services.scheduler.engine import events as ev
from gridloom_services.scheduler.engine.decisions import Wanted

from tests.unit.scheduler.engine.build import QUEUE, Cluster, nodes_of, role


def wanted(cluster, job="pool"):
    return cluster.engine.snapshot().jobs[job].wanted


def pool(cluster, most=4, least=1, **options):
    cluster.submit("pool", role(most, least, cpu=1), **options)


def grown(cluster, now=0):
    """Indices and nodes of what one cycle adds."""
    return [(a.index, a.node) for grow in cluster.cycle(now).grows for a in grow.assignments]


def test_the_gang_starts_first_and_the_rest_in_the_next_cycle():
    cluster = Cluster(3)
    pool(cluster)
    decisions = cluster.cycle()
    [start] = decisions.starts
    assert [a.index for a in start.placement] == [0]
    assert decisions.truncated
    assert grown(cluster) == [(1, "n0"), (2, "n0")]
    assert wanted(cluster) == (Wanted(0, "main", 1, 1),)
    assert cluster.used() == {"cpu": 3}


def test_growth_stays_near_its_gang():
    cluster = Cluster(3, 9)
    cluster.tell(ev.NodeSet("n1", {"cpu": 9, "memory": 1}))
    pool(cluster)
    cluster.cycle()
    cluster.submit("a", role(cpu=2))
    cluster.tell(ev.NodeSet("n2", {"cpu": 1}))
    assert grown(cluster)[:2] == [(1, "n0"), (2, "n0")]


def test_growth_waits_for_jobs_that_came_before_its_request():
    cluster = Cluster(2)
    pool(cluster, most=2)
    cluster.cycle()
    cluster.cycle()
    cluster.submit("older", role(cpu=1))
    cluster.tell(ev.ResizeRequested("pool", "main", 4, 50))
    cluster.submit("younger", role(cpu=1), sequence=60)
    cluster.tell(ev.NodeSet("n0", {"cpu": 4}))
    decisions = cluster.cycle()
    assert [start.job for start in decisions.starts] == ["older"]
    assert [len(grow.assignments) for grow in decisions.grows] == [1]


def test_growth_of_higher_priority_comes_first():
    cluster = Cluster(1)
    pool(cluster, most=2, priority=1)
    cluster.cycle()
    cluster.submit("a")
    cluster.tell(ev.NodeSet("n0", {"cpu": 2}))
    decisions = cluster.cycle()
    assert decisions.starts == ()
    assert len(decisions.grows) == 1


def test_growth_never_delays_a_promise():
    cluster = Cluster(4)
    pool(cluster, most=4, limit=1000)
    cluster.submit("run", role(cpu=2), limit=10)
    cluster.cycle()
    cluster.submit("next", role(cpu=3), limit=10, priority=1)
    decisions = cluster.cycle()
    assert [promise.start for promise in decisions.promises] == [10]
    assert decisions.grows == ()
    cluster.tell(ev.Ended("run", 0, 10))
    assert cluster.started(10) == ["next"]


def test_growth_holds_no_promise():
    cluster = Cluster(1)
    pool(cluster)
    cluster.cycle()
    assert cluster.cycle().promises == ()


def test_growth_counts_against_the_quota():
    cluster = Cluster(8)
    cluster.tell(ev.QueueSet(QUEUE, quota={"cpu": 3}))
    pool(cluster)
    cluster.cycle()
    assert len(grown(cluster)) == 2
    assert wanted(cluster) == (Wanted(0, "main", 1, 1),)


def test_growth_is_bounded_with_the_starts_of_a_plan():
    cluster = Cluster(8)
    pool(cluster, most=6)
    cluster.cycle()
    decisions = cluster.cycle(max_starts=2)
    assert [len(grow.assignments) for grow in decisions.grows] == [2]
    assert decisions.truncated


def test_shrinking_first_gives_up_the_newest_requests():
    cluster = Cluster(1)
    pool(cluster, most=3)
    cluster.cycle()
    cluster.tell(ev.ResizeRequested("pool", "main", 5, 10))
    assert wanted(cluster) == (Wanted(0, "main", 1, 2), Wanted(0, "main", 10, 2))
    cluster.tell(ev.ResizeRequested("pool", "main", 2, 11))
    assert wanted(cluster) == (Wanted(0, "main", 1, 1),)
    cluster.tell(ev.ResizeRequested("pool", "main", 0, 12))
    assert wanted(cluster) == ()


def test_growth_meets_the_oldest_request_first():
    cluster = Cluster(1)
    pool(cluster, most=2)
    cluster.cycle()
    cluster.tell(ev.ResizeRequested("pool", "main", 3, 10), ev.NodeSet("n0", {"cpu": 2}))
    cluster.cycle()
    assert wanted(cluster) == (Wanted(0, "main", 10, 1),)


def test_a_replica_that_is_lost_is_asked_for_again_with_the_lowest_free_index():
    cluster = Cluster(4)
    pool(cluster)
    cluster.cycle()
    cluster.cycle()
    cluster.tell(ev.ReplicasEnded("pool", 0, "main", "n0", (1, 2)))
    assert cluster.used() == {"cpu": 2}
    assert wanted(cluster) == (Wanted(0, "main", 1, 2),)
    assert grown(cluster) == [(1, "n0"), (2, "n0")]


def test_a_replica_that_is_let_go_is_not_asked_for_again():
    cluster = Cluster(4)
    pool(cluster)
    cluster.cycle()
    cluster.cycle()
    cluster.tell(ev.ResizeRequested("pool", "main", 3, 9))
    assert cluster.used() == {"cpu": 4}
    cluster.tell(ev.ReplicasEnded("pool", 0, "main", "n0", (3,)))
    assert wanted(cluster) == ()
    assert grown(cluster) == []


def test_requests_end_with_their_gang():
    cluster = Cluster(1)
    pool(cluster)
    cluster.cycle()
    cluster.tell(ev.Ended("pool", 0, 5))
    assert not cluster.engine.knows("pool")
    assert cluster.engine._state.jobs.parents == {}
    assert len(cluster.engine._state.classes) == 0


def test_growth_lasts_no_longer_than_its_gang():
    cluster = Cluster(2)
    pool(cluster, most=2, limit=50)
    cluster.cycle()
    cluster.cycle(40)
    parts = cluster.engine.snapshot().jobs["pool"].running
    assert [part.end for part in parts] == [50, 50]


def test_every_element_of_an_elastic_array_grows():
    cluster = Cluster(4)
    cluster.submit("pool", role(2, 1, cpu=1), elements=2)
    cluster.cycle()
    decisions = cluster.cycle()
    assert [(grow.element, nodes_of(grow.assignments)) for grow in decisions.grows] == [
        (0, ["n0"]),
        (1, ["n0"]),
    ]


def test_a_growth_that_makes_no_sense_is_refused():
    cluster = Cluster(1)
    pool(cluster)
    cluster.cycle()
    with pytest.raises(EngineError, match="replicas"):
        cluster.tell(ev.ResizeRequested("pool", "main", -1, 9))
    assert wanted(cluster) == (Wanted(0, "main", 1, 3),)
