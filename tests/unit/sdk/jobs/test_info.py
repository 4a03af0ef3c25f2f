from __future__ import annotations

from datetime import UTC, datetime

from gridloom.api.scheduler.v1 import job_pb2, scheduler_pb2
from gridloom.jobs.info import read_event, read_explanation, read_job, read_new_jobs
from gridloom.jobs.states import FailureClass, JobState, PendingReason

from tests.unit.sdk.jobs.examples import array, job


def test_a_job_is_read_with_all_that_is_known_of_it():
    message = job("FAILED", exit_code=3, reason="exit code 3")
    message.failure_class = job_pb2.FAILURE_CLASS_APPLICATION_ERROR
    message.outputs.add(role="main", path="plot.png").object.size_bytes = 12
    info = read_job(message)
    assert info.state is JobState.FAILED
    assert info.failure_class is FailureClass.APPLICATION_ERROR
    assert (info.exit_code, info.signal, info.time_limit_s) == (3, None, 7200)
    assert info.run_s() == 60
    assert info.submitted_at == datetime.fromtimestamp(1_000_000, UTC)
    assert info.age_s(datetime.fromtimestamp(1_000_060, UTC)) == 60
    assert info.outputs[0].size_bytes == 12
    assert info.roles[0].resources == {"memory": 1024}


def test_new_jobs_are_read_together_as_each_alone_and_share_nothing_that_can_change():
    jobs = [
        job("QUEUED", f"job_{number:026}", revision=number, reason=reason)
        for number, reason in enumerate(["", "", "held", "", "held"])
    ]
    for number, each in enumerate(jobs):
        each.submitted_at.FromSeconds(1_000_000 + number)
        each.spec.roles[0].command.append(str(number))
        each.spec.labels["a"] = "1"
    found = read_new_jobs(jobs)
    assert found == [read_job(each) for each in jobs]
    assert found[0].labels is not found[1].labels
    assert found[0].roles[0].resources is not found[1].roles[0].resources


def test_what_has_not_happened_yet_is_none():
    info = read_job(job("QUEUED"))
    assert (info.exit_code, info.started_at, info.ended_at, info.run_s()) == (
        None,
        None,
        None,
        None,
    )
    assert info.failure_class is None
    assert info.element is None


def test_an_array_is_counted_by_state():
    info = read_job(array({"SUCCEEDED": 3, "FAILED": 1, "RUNNING": 2}))
    assert info.elements == 6
    assert info.counts() == {JobState.SUCCEEDED: 3, JobState.FAILED: 1, JobState.RUNNING: 2}


def test_elements_are_asked_for_by_their_own_number():
    info = read_job(array({"SUCCEEDED": 2, "FAILED": 1}, step=10))
    assert list(info.numbers()) == [0, 10, 20]
    assert info.state_of(10) is JobState.SUCCEEDED
    assert info.state_of(20) is JobState.FAILED
    assert info.state_of(2) is None


def test_a_reason_that_is_newer_than_this_client_is_shown_by_its_message():
    told = scheduler_pb2.ExplainJobResponse(
        reason=scheduler_pb2.PENDING_REASON_RESOURCES, message="waits", asked=4, available=2
    )
    explanation = read_explanation(told)
    assert explanation.reason is PendingReason.RESOURCES
    assert str(explanation) == "waits"
    assert explanation.promised_start is None


def test_events_are_read():
    event = job_pb2.JobEvent(revision=5, job_id="job_1", reason="r", element=0)
    event.to_state = job_pb2.JOB_STATE_QUEUED
    read = read_event(event)
    assert (read.from_state, read.to_state, read.element) == (None, JobState.QUEUED, 0)


def test_every_state_and_failure_class_of_the_contract_has_a_name_here():
    for value in job_pb2.JobState.values()[1:]:
        assert job_pb2.JobState.Name(value).removeprefix("JOB_STATE_") in JobState.__members__
    for value in job_pb2.FailureClass.values()[1:]:
        name = job_pb2.FailureClass.Name(value).removeprefix("FAILURE_CLASS_")
        assert name in FailureClass.__members__
    for value in scheduler_pb2.PendingReason.values()[1:]:
        name = scheduler_pb2.PendingReason.Name(value).removeprefix("PENDING_REASON_")
        assert name in PendingReason.__members__
