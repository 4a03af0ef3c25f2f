"""Events: what they change, and what is refused without a change."""

from __future__ import annotations

import pytest
from gridloom_services.scheduler.engine import EngineError
from gridloom_services.scheduler.engine import events as ev
from gridloom_services.scheduler.engine.decisions import Part, Promise

from tests.unit.scheduler.engine.build import QUEUE, Cluster, role


def at(node, index=0, name="main"):
    return ev.Assignment(name, index, node)


@pytest.fixture
def cluster():
    """One node; "run" runs, "wait" waits with a promise, "arr" is an array of which 0 runs."""
    cluster = Cluster(4)
    cluster.submit("run", role(cpu=2))
    cluster.submit("arr", elements=3, max_parallel=1)
    cluster.submit("wait", role(cpu=3))
    cluster.cycle()
    return cluster


REFUSED = [
    (ev.JobSubmitted("run", QUEUE, 0, 9, (role(),), 10), "here already"),
    (ev.JobSubmitted("new", "p/none", 0, 9, (role(),), 10), "queue 'p/none'"),
    (ev.JobSubmitted("new", QUEUE, 0, 9, (role(),), 0), "time limit"),
    (ev.JobSubmitted("new", QUEUE, 0, -1, (role(),), 10), "sequence"),
    (ev.JobSubmitted("new", QUEUE, 2**40, 9, (role(),), 10), "priority"),
    (ev.JobSubmitted("new", QUEUE, 0, 9, (role(),), 10, elements=0), "elements"),
    (ev.JobSubmitted("new", QUEUE, 0, 9, (role(),), 10, 5, waiting=((4, 2),)), "run"),
    (ev.JobSubmitted("new", QUEUE, 0, 9, (role(),), 10, 5, waiting=()), "no element"),
    (ev.JobWithdrawn("none"), "'none'"),
    (ev.ElementsReturned("arr", (0,)), "element 0"),
    (ev.ElementsReturned("arr", (3,)), "element 3"),
    (ev.ElementsReturned("wait", (1,)), "element 1"),
    (ev.ElementsWithdrawn("none", (0,)), "'none'"),
    (ev.Started("run", 0, (at("n0"),), 0), "does not wait"),
    (ev.Started("wait", 0, (at("n0", name="x"),), 0), "role 'x'"),
    (ev.Started("none", 0, (at("n0"),), 0), "'none'"),
    (ev.Grown("run", 0, "main", (at("n0", 1),), 0), "not elastic"),
    (ev.Grown("wait", 0, "main", (at("n0", 1),), 0), "does not run"),
    (ev.Promised("run", 0, 5, (at("n0"),)), "does not wait"),
    (ev.Promised("wait", 0, 5, (at("n0", name="x"),)), "role 'x'"),
    (ev.PromiseDropped("arr", 1), "no promise"),
    (ev.Ended("wait", 0, 5), "does not run"),
    (ev.Ended("arr", 1, 5), "does not run"),
    (ev.ReplicasEnded("run", 0, "main", "n0", (0, 1)), "fewer than 2"),
    (ev.ReplicasEnded("run", 0, "main", "n9", (0,)), "fewer than 1"),
    (ev.ResizeRequested("run", "main", 2, 9), "not elastic"),
    (ev.ResizeRequested("run", "x", 2, 9), "role 'x'"),
]


@pytest.mark.parametrize(("event", "message"), REFUSED)
def test_an_event_that_contradicts_the_state_is_refused_and_changes_nothing(
    cluster, event, message
):
    before = cluster.engine.snapshot()
    with pytest.raises(EngineError, match=message):
        cluster.tell(event)
    assert cluster.engine.snapshot() == before


def test_a_job_is_known_as_long_as_any_of_it_waits_or_runs(cluster):
    cluster.tell(ev.JobWithdrawn("arr"))
    assert cluster.engine.knows("arr")
    cluster.tell(ev.Ended("arr", 0, 1))
    assert not cluster.engine.knows("arr")
    cluster.tell(ev.JobWithdrawn("wait"))
    assert not cluster.engine.knows("wait")


def test_what_waits_runs_and_is_promised_is_shown(cluster):
    jobs = cluster.engine.snapshot().jobs
    assert jobs["run"].running == (Part(0, "main", "n0", 1, 100),)
    assert jobs["arr"].waiting == ((1, 2),)
    assert jobs["wait"].promise == Promise("wait", 0, 100, (at("n0"),))
    queue = cluster.engine.queues()[QUEUE]
    assert (queue.used, queue.queued, queue.running) == ({"cpu": 3}, 3, 2)


def test_withdrawing_the_promised_element_voids_its_promise(cluster):
    cluster.tell(ev.ElementsWithdrawn("wait", (0,)))
    assert not cluster.engine.knows("wait")
    assert cluster.engine._state.promises == {}


def test_withdrawing_what_does_not_wait_is_no_error(cluster):
    cluster.tell(ev.ElementsWithdrawn("arr", (0, 2)))
    assert cluster.engine.snapshot().jobs["arr"].waiting == ((1, 1),)


def test_a_replica_that_ended_before_its_gang_frees_its_part():
    cluster = Cluster(4)
    cluster.submit("a", role(2, cpu=1), role(1, name="head", cpu=2))
    cluster.cycle()
    cluster.tell(ev.ReplicasEnded("a", 0, "head", "n0", (0,)))
    assert cluster.used() == {"cpu": 2}
    cluster.tell(ev.ReplicasEnded("a", 0, "main", "n0", (1,)))
    assert cluster.used() == {"cpu": 1}
    cluster.tell(ev.Ended("a", 0, 3))
    assert cluster.used() == {}


def test_a_promise_may_be_dropped(cluster):
    cluster.tell(ev.PromiseDropped("wait", 0))
    assert cluster.engine.snapshot().jobs["wait"].promise is None


def test_everything_is_given_back_at_the_end(cluster):
    cluster.tell(ev.JobWithdrawn("arr"), ev.JobWithdrawn("wait"))
    cluster.tell(ev.Ended("arr", 0, 1), ev.Ended("run", 0, 1))
    state = cluster.engine._state
    assert (state.gangs, state.promises, state.jobs.rows, state.jobs.runs) == ({}, {}, {}, {})
    assert state.entries.live().size == 0
    assert not state.jobs.array("pending").any()
    assert cluster.engine.free() == {"cpu": 4}
