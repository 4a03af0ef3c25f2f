"""Plans: backfill beside promises, and what may break them."""

from __future__ import annotations

import pytest
from gridloom_services.scheduler.engine import events as ev
from gridloom_services.scheduler.engine import failures, plan
from gridloom_services.scheduler.engine.decisions import DropPromise

from tests.unit.scheduler.engine.build import QUEUE, Cluster, nodes_of, role
from tests.unit.scheduler.engine.world import World


def promises(decisions):
    return [(promise.job, promise.start) for promise in decisions.promises]


def busy(*cpus, **options):
    """A cluster on which "run" holds half of the first node until 100."""
    cluster = Cluster(*cpus or (4,), **options)
    cluster.submit("run", role(cpu=cpus[0] // 2 if cpus else 2), limit=100)
    cluster.cycle()
    return cluster


def test_a_large_job_is_promised_the_end_of_what_is_in_its_way():
    cluster = busy()
    cluster.submit("large", role(cpu=4))
    assert promises(cluster.cycle(10)) == [("large", 100)]
    assert cluster.cycle(20) == type(cluster.cycle(20))()
    cluster.tell(ev.Ended("run", 0, 100))
    assert cluster.started(100) == ["large"]


def test_a_promise_moves_earlier_when_work_ends_before_its_limit():
    cluster = busy(4, 4)
    cluster.submit("second", role(cpu=4), limit=50)
    cluster.cycle(0)
    cluster.submit("large", role(2, cpu=4))
    assert promises(cluster.cycle(10)) == [("large", 100)]
    cluster.tell(ev.Ended("run", 0, 20))
    assert promises(cluster.cycle(20)) == [("large", 50)]
    cluster.tell(ev.Ended("second", 0, 30))
    assert cluster.started(30) == ["large"]


def test_short_work_is_backfilled_and_long_work_is_not():
    cluster = busy()
    cluster.submit("large", role(cpu=4))
    cluster.submit("long", limit=91)
    cluster.submit("short", limit=90)
    assert [start.job for start in cluster.cycle(10).starts] == ["short"]


def test_long_work_is_backfilled_where_the_promise_leaves_room():
    cluster = busy()
    cluster.submit("large", role(cpu=3))
    cluster.submit("long", limit=1000)
    cluster.submit("longer", limit=1000)
    assert [start.job for start in cluster.cycle(10).starts] == ["long"]


def test_only_so_many_jobs_are_promised_a_start():
    for reservations in range(4):
        cluster = busy(reservations=reservations)
        for job in "abc":
            cluster.submit(job, role(cpu=4), limit=10)
        expected = [("a", 100), ("b", 110), ("c", 120)]
        assert promises(cluster.cycle()) == expected[:reservations]


def test_without_reservations_small_jobs_pass_for_ever():
    cluster = busy(reservations=0)
    cluster.submit("large", role(cpu=4))
    cluster.submit("long", limit=1000)
    assert cluster.started() == ["long"]


def test_a_promise_is_kept_though_others_of_its_priority_come():
    cluster = busy()
    cluster.submit("large", role(cpu=4), sequence=9)
    cluster.cycle()
    cluster.submit("older", role(cpu=4), sequence=5)
    assert not cluster.cycle(1)
    cluster.tell(ev.Ended("run", 0, 2))
    assert cluster.started(2) == ["large"]


def test_a_higher_priority_takes_the_promise_and_the_room():
    cluster = busy()
    cluster.submit("large", role(cpu=4))
    cluster.cycle()
    cluster.submit("vip", role(cpu=4), priority=1, limit=10)
    decisions = cluster.cycle(1)
    assert promises(decisions) == [("vip", 100)]
    assert decisions.drops == (DropPromise("large", 0),)


def test_a_higher_priority_may_start_in_the_way_of_a_promise():
    cluster = busy()
    cluster.submit("large", role(cpu=4))
    cluster.cycle()
    cluster.submit("vip", role(cpu=2), priority=1, limit=500)
    decisions = cluster.cycle(1)
    assert [start.job for start in decisions.starts] == ["vip"]
    assert promises(decisions) == [("large", 501)]
    assert decisions.drops == ()


def test_a_drained_node_breaks_the_promise_that_is_pinned_to_it():
    cluster = Cluster(4, 8)
    cluster.submit("run", role(cpu=4), limit=100)
    cluster.submit("more", role(cpu=8), limit=200)
    cluster.cycle()
    cluster.submit("large", role(cpu=4))
    assert promises(cluster.cycle(1)) == [("large", 100)]
    cluster.tell(ev.NodeSet("n0", {"cpu": 4}, schedulable=False))
    assert promises(cluster.cycle(2)) == [("large", 200)]


def test_work_that_overruns_its_limit_counts_as_ending_a_second_from_now():
    cluster = busy()
    cluster.submit("large", role(cpu=4))
    cluster.cycle()
    assert promises(cluster.cycle(100)) == [("large", 101)]
    assert promises(cluster.cycle(130)) == [("large", 131)]
    cluster.tell(ev.Ended("run", 0, 140))
    assert cluster.started(140) == ["large"]


def test_a_promise_that_is_due_is_kept_on_its_own_nodes():
    cluster = Cluster(4, 4, 4)
    cluster.tell(ev.NodeSet("n2", {"cpu": 4}, schedulable=False))
    cluster.submit("a", role(cpu=4), limit=100)
    cluster.submit("b", role(cpu=4), limit=200)
    cluster.cycle()
    cluster.submit("large", role(cpu=4))
    cluster.cycle()
    cluster.tell(ev.NodeSet("n2", {"cpu": 4}), ev.Ended("a", 0, 100))
    [start] = cluster.cycle(100).starts
    assert nodes_of(start.placement) == ["n0"]


def test_a_promise_holds_its_queues_quota_from_its_start_on():
    cluster = Cluster(8)
    cluster.tell(ev.QueueSet(QUEUE, quota={"cpu": 6}), ev.QueueSet("p/other"))
    cluster.submit("run", role(cpu=5), queue="p/other", limit=100)
    cluster.cycle()
    cluster.submit("large", role(cpu=5))
    cluster.submit("long", role(cpu=2), limit=101)
    cluster.submit("short", role(cpu=2), limit=100)
    decisions = cluster.cycle(0)
    assert promises(decisions) == [("large", 100)]
    assert [start.job for start in decisions.starts] == ["short"]
    cluster.tell(ev.Ended("run", 0, 100), ev.Ended("short", 0, 100))
    assert cluster.started(100) == ["large"]


def test_a_plan_starts_no_more_than_it_may_and_says_so():
    cluster = Cluster(8)
    cluster.submit("a", elements=5)
    decisions = cluster.cycle(max_starts=3)
    assert len(decisions.starts) == 3
    assert decisions.truncated
    decisions = cluster.cycle(max_starts=3)
    assert len(decisions.starts) == 2
    assert not decisions.truncated


def test_an_empty_engine_plans_nothing():
    assert not Cluster().cycle()
    assert not Cluster(4).cycle()


def test_decisions_are_told_in_the_order_drops_starts_growths_promises():
    cluster = busy()
    cluster.submit("large", role(cpu=4))
    cluster.cycle()
    cluster.submit("vip", role(cpu=4), priority=1)
    cluster.submit("tiny", limit=5, priority=2)
    told = [type(event) for event in cluster.engine.plan(1).events(1)]
    assert told == [ev.PromiseDropped, ev.Started, ev.Promised]


@pytest.mark.parametrize("seed", range(8))
def test_when_and_how_often_hopeless_rows_are_filtered_decides_nothing(seed, monkeypatch):
    import random

    world = World(random.Random(seed), reservations=seed % 3, roles=1 + seed % 2)
    for _ in range(5):
        for _ in range(4):
            world.submit()
        world.step()
        seldom = world.engine.plan(world.now)
        with monkeypatch.context() as patch:
            patch.setattr(plan, "_LEAST_PATIENCE", 1)
            patch.setattr(failures, "_WORTH_A_PASS", 1)
            assert world.engine.plan(world.now) == seldom
        world.follow(seldom)
