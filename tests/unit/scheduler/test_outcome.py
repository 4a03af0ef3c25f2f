from __future__ import annotations

from typing import Any

import pytest
from gridloom_services.scheduler.job import LiveGang, Outcome, StopOrder, Usage
from gridloom_services.scheduler.outcome import (
    departures,
    final_outcome,
    first_failure,
    is_over,
    is_running,
    replica_end,
    usage_of,
)
from gridloom_services.scheduler.runtime.base import Assignment, Phase, ReplicaStatus
from gridloom_services.scheduler.states import FailureClass, JobState

from tests.support.scheduler import NOW_US, a_role

FIXED = (a_role(replicas=3),)
ELASTIC = (a_role(replicas=3, min_replicas=1, elastic=True),)
CANCEL = Outcome(JobState.CANCELLED, FailureClass.CANCELLED, reason="cancelled by ada")


def a_gang(size: int = 3, **changes: Any) -> LiveGang:
    placement = tuple(Assignment("main", index, "node") for index in range(size))
    values = {"name": "job_1-a1", "sequence": 1, "job_id": "job_1", "element": 0, "attempt": 1}
    return LiveGang(**values | {"placement": placement, "starting_us": NOW_US} | changes)


def reports(**by_index: str | None) -> dict[tuple[str, int], ReplicaStatus]:
    """Statuses by index; each word is a phase, or "ok@3", "error@2", "cancelled@4" at a time."""
    found = {}
    for key, word in by_index.items():
        index = int(key.removeprefix("r"))
        found["main", index] = report(index, word or "starting")
    return found


def report(index: int, word: str) -> ReplicaStatus:
    kind, _, at = word.partition("@")
    if not at:
        return ReplicaStatus("job_1-a1", "main", index, Phase(kind), "node", index)
    failure = {
        "ok": FailureClass.NONE,
        "error": FailureClass.APPLICATION_ERROR,
        "lost": FailureClass.NODE_LOST,
        "cancelled": FailureClass.CANCELLED,
    }[kind]
    code = {"ok": 0, "error": 3 + index, "lost": None, "cancelled": 143}[kind]
    return ReplicaStatus(
        "job_1-a1",
        "main",
        index,
        Phase.ENDED,
        "node",
        index,
        exit_code=code,
        failure_class=failure,
        cpu_seconds=1.5,
        peak_memory_bytes=10 + index,
        ended_at=float(at),
    )


def test_a_gang_runs_when_every_replica_has_begun():
    assert not is_running(a_gang(), reports(r0="running", r1="running"))
    assert not is_running(a_gang(), reports(r0="running", r1="running", r2="starting"))
    assert is_running(a_gang(), reports(r0="running", r1="ok@1", r2="running"))


def test_a_gang_succeeds_when_all_its_replicas_did():
    statuses = reports(r0="ok@1", r1="ok@2", r2="ok@3")
    assert is_over(a_gang(), statuses)
    assert final_outcome(a_gang(), statuses, FIXED) == Outcome()


def test_a_gang_is_not_over_before_its_last_replica():
    assert not is_over(a_gang(), reports(r0="ok@1", r1="ok@2", r2="running"))


def test_the_first_failure_decides_whatever_the_order_of_reports():
    statuses = reports(r0="error@5", r1="error@2", r2="running")
    failure = first_failure(a_gang(), statuses, FIXED)
    assert failure is not None
    assert (failure.state, failure.exit_code) == (JobState.FAILED, 4)


def test_a_failure_keeps_its_class_and_code_after_the_rest_was_stopped():
    order = StopOrder(Outcome(JobState.FAILED, FailureClass.APPLICATION_ERROR, 4), 10.0)
    statuses = reports(r0="cancelled@3", r1="error@2", r2="cancelled@3")
    assert final_outcome(a_gang(stop=order), statuses, FIXED) == order.outcome


def test_a_cancelled_gang_is_cancelled_with_the_exit_code_of_the_first_to_end():
    statuses = reports(r0="cancelled@3", r1="cancelled@2", r2="cancelled@4")
    outcome = final_outcome(a_gang(stop=StopOrder(CANCEL, 10.0)), statuses, FIXED)
    assert (outcome.state, outcome.exit_code) == (JobState.CANCELLED, 143)
    assert outcome.reason == "cancelled by ada"


def test_a_gang_that_was_through_before_the_order_reached_it_has_succeeded():
    statuses = reports(r0="ok@1", r1="ok@2", r2="ok@3")
    assert final_outcome(a_gang(stop=StopOrder(CANCEL, 10.0)), statuses, FIXED) == Outcome()


def test_an_end_that_nobody_could_see_has_no_exit_code():
    failure = first_failure(a_gang(1), reports(r0="lost@1"), FIXED)
    assert failure is not None
    assert (failure.failure_class, failure.exit_code) == (FailureClass.NODE_LOST, -1)


def test_replicas_of_a_fixed_role_never_depart_singly():
    assert departures(a_gang(), reports(r0="ok@1", r1="running", r2="running"), FIXED) == ()


@pytest.mark.parametrize("word", ["ok@1", "error@1", "lost@1"])
def test_an_elastic_replica_departs_while_enough_are_left(word: str):
    statuses = reports(r0="running", r1=word, r2="running")
    assert [each.index for each in departures(a_gang(), statuses, ELASTIC)] == [1]
    assert first_failure(a_gang(), statuses, ELASTIC) is None


def test_a_failure_that_leaves_too_few_is_the_gangs():
    statuses = reports(r0="running", r1="error@1")
    roles = (a_role(replicas=2, min_replicas=2, elastic=True),)
    failure = first_failure(a_gang(2), statuses, roles)
    assert failure is not None
    assert failure.exit_code == 4


def test_which_failure_counts_does_not_depend_on_how_many_are_reported_together():
    # 0 failed while two others were alive: it only departed. 1 failed while one was alive: enough.
    statuses = reports(r0="error@1", r1="error@2", r2="ok@3")
    assert first_failure(a_gang(), statuses, ELASTIC) is None
    assert final_outcome(a_gang(), statuses, ELASTIC) == Outcome()
    # The last one alone had nobody left beside it.
    statuses = reports(r0="error@1", r1="ok@2", r2="error@3")
    failure = first_failure(a_gang(), statuses, ELASTIC)
    assert failure is not None
    assert failure.exit_code == 5


def test_a_replica_on_its_way_out_departs_without_blame():
    gang = a_gang(leaving=frozenset({("main", 2)}))
    statuses = reports(r0="running", r1="running", r2="cancelled@1")
    assert [each.index for each in departures(gang, statuses, ELASTIC)] == [2]
    assert first_failure(gang, statuses, ELASTIC) is None


def test_usage_is_the_sum_of_processors_and_the_largest_memory():
    assert usage_of(reports(r0="ok@1", r1="error@1").values()) == Usage(3.0, 11)


def test_the_record_of_a_replica_says_how_it_ended():
    record = replica_end(report(1, "error@1"))
    assert (record.state, record.exit_code, record.log_index) == (JobState.FAILED, 4, 1)
    assert replica_end(report(1, "cancelled@1")).state is JobState.CANCELLED
    assert replica_end(report(1, "ok@1")).state is JobState.SUCCEEDED
