"""Quotas inside one plan."""

from __future__ import annotations

import numpy as np
from gridloom_services.scheduler.engine import events as ev
from gridloom_services.scheduler.engine.budget import Budget
from gridloom_services.scheduler.engine.decisions import Reason
from gridloom_services.scheduler.engine.promises import Pledge

from tests.unit.scheduler.engine.build import QUEUE, Cluster, role

THREE = ((0, 3),)


def budget(quota=10, limit=50):
    """The budget of a queue of which a job holds 4 cpus until `limit`; its row is 0."""
    cluster = Cluster(100)
    cluster.tell(ev.QueueSet(QUEUE, quota={"cpu": quota}))
    cluster.submit("run", role(cpu=4), limit=limit)
    cluster.cycle()
    return Budget(cluster.engine._state, 0)


def pledge(start, end):
    return Pledge(0, 0, start, end, [], [], np.zeros((1, 1), np.int64))


def test_what_runs_and_what_starts_counts():
    left = budget()
    assert left.left(0, 0) == 6
    assert left.allows(0, ((0, 6),), 10)
    left.take(0, THREE, 10)
    assert left.lacks(0, ((0, 4),)) == 0
    assert left.lacks(0, THREE) is None
    assert left.left(0, 0) == 3


def test_a_resource_without_a_bound_is_free_for_all():
    assert budget().allows(0, ((1, 2**50),), 10)


def test_work_that_runs_into_a_promise_needs_quota_beside_it():
    left = budget()
    left.promise(0, ((0, 5),), pledge(20, 40))
    assert left.allows(0, THREE, 20)
    assert not left.allows(0, THREE, 21)
    assert left.allows(0, ((0, 1),), 21)


def test_a_promise_after_the_end_of_what_runs_leaves_more():
    left = budget(limit=15)
    left.promise(0, ((0, 5),), pledge(20, 40))
    assert left.allows(0, ((0, 5),), 21)
    left.take(0, THREE, 30)
    assert not left.allows(0, THREE, 21)
    assert left.allows(0, THREE, 20)


def test_a_dropped_promise_gives_its_quota_back():
    left = budget()
    held = pledge(20, 40)
    left.promise(0, ((0, 6),), held)
    assert not left.allows(0, THREE, 30)
    left.release(0, held)
    assert left.allows(0, THREE, 30)


def test_a_new_promise_needs_room_beside_all_others_whenever_they_are():
    left = budget()
    held = pledge(500, 600)
    left.promise(0, THREE, held)
    assert left.allows_promise(0, THREE)
    assert not left.allows_promise(0, ((0, 4),))
    assert left.allows_promise(0, ((0, 6),), but=held)


def test_a_kept_promise_needs_room_from_its_start_to_its_end():
    left = budget()
    left.promise(0, ((0, 5),), pledge(20, 40))
    assert left.keeps(0, THREE, 5, 20)
    assert not left.keeps(0, THREE, 5, 21)
    assert not left.keeps(0, THREE, 30, 35)
    assert left.keeps(0, ((0, 5),), 50, 60)


# ---- the quota of a project

OTHER = "p/other"


def test_the_queues_of_a_project_stay_together_within_its_quota():
    cluster = Cluster(100)
    cluster.tell(ev.QueueSet(OTHER), ev.ProjectSet("p", {"cpu": 3}))
    cluster.submit("a", role(cpu=2))
    cluster.submit("b", role(cpu=2), queue=OTHER)
    cluster.submit("c", role(cpu=1), queue=OTHER)
    assert sorted(cluster.started()) == ["a", "c"]
    found = cluster.engine.explain("b", 0)
    why = (found.reason, found.resource, found.asked, found.available)
    assert why == (Reason.PROJECT_QUOTA, "cpu", 2, 0)
    cluster.tell(ev.Ended("a", 0, 1))
    assert cluster.started(1) == ["b"]


def test_a_promise_holds_its_projects_quota_too():
    cluster = Cluster(8)
    cluster.tell(ev.QueueSet(OTHER), ev.QueueSet("r/q"), ev.ProjectSet("p", {"cpu": 6}))
    cluster.submit("run", role(cpu=5), queue="r/q", limit=100)
    cluster.cycle()
    cluster.submit("large", role(cpu=5))
    cluster.submit("long", role(cpu=2), queue=OTHER, limit=101)
    cluster.submit("short", role(cpu=2), queue=OTHER, limit=100)
    assert cluster.started() == ["short"]


def test_the_quota_of_one_project_is_nothing_to_another():
    cluster = Cluster(100)
    cluster.tell(ev.QueueSet("rich/q"), ev.ProjectSet("p", {"cpu": 0}))
    cluster.submit("a", role(cpu=1))
    cluster.submit("b", role(cpu=1), queue="rich/q")
    assert cluster.started() == ["b"]
    assert cluster.engine.waiting() == 0


def test_a_projects_quota_that_goes_bounds_nothing_any_more():
    cluster = Cluster(100)
    cluster.tell(ev.ProjectSet("p", {"cpu": 0}))
    cluster.submit("a", role(cpu=1))
    assert cluster.started() == []
    cluster.tell(ev.ProjectSet("p"))
    assert cluster.started(1) == ["a"]
