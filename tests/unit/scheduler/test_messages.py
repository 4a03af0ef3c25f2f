"""What clients send and get: values survive the way there and back."""

from __future__ import annotations

from dataclasses import fields as fields_of
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from gridloom.api.scheduler.v1 import job_pb2, scheduler_pb2
from gridloom_services.common.errors import InvalidRequestError
from gridloom_services.scheduler.job import Event, GangOutput, ReplicaEnd, Usage
from gridloom_services.scheduler.messages import (
    add_jobs,
    event_message,
    job_message,
    spec_message,
)
from gridloom_services.scheduler.requests import (
    SpecReader,
    grace_of,
    log_query_of,
    query_of,
    queue_changes_of,
    queue_of,
)
from gridloom_services.scheduler.runs import Run
from gridloom_services.scheduler.runtime.base import (
    InputFile,
    LogStream,
    OutputFile,
    Secret,
    Volume,
)
from gridloom_services.scheduler.spec import (
    DEFAULT_RETRY,
    ArraySpec,
    Condition,
    Dependency,
    JobSpec,
    Range,
    RetryPolicy,
    Role,
    are_alike,
)
from gridloom_services.scheduler.states import FailureClass, JobState
from gridloom_services.scheduler.store.codec import SpecWriter, read_spec, write
from gridloom_services.scheduler.views import JobView
from hypothesis import given
from hypothesis import strategies as st

from tests.support.scheduler import NOW_US, a_job, a_role, a_spec, an_array

words = st.text(min_size=1, max_size=8)
counts = st.integers(1, 1000)
maps = st.dictionaries(words, words, max_size=3).map(MappingProxyType)
DIGEST = "sha256:" + "0" * 64
files = st.builds(InputFile, words, st.just(DIGEST), st.integers(0, 2**40), st.integers(1, 0o777))


@st.composite
def roles(draw: st.DrawFn) -> Role:
    elastic = draw(st.booleans())
    replicas = draw(counts)
    amounts = draw(st.dictionaries(words, st.integers(0, 2**50), max_size=3))
    return Role(
        name=draw(words),
        command=tuple(draw(st.lists(words, min_size=1, max_size=3))),
        replicas=replicas,
        min_replicas=draw(st.integers(1, replicas)) if elastic else replicas,
        elastic=elastic,
        colocate=draw(st.booleans()),
        per_node=0 if elastic else draw(st.integers(0, replicas)),
        image=draw(st.just("") | words),
        env=draw(maps),
        files=tuple(draw(st.lists(files, max_size=2))),
        outputs=tuple(draw(st.lists(words, max_size=2))),
        volumes=tuple(draw(st.lists(st.builds(Volume, words, words, st.booleans()), max_size=2))),
        secrets=tuple(draw(st.lists(st.builds(Secret, words, words, words), max_size=2))),
        resources=MappingProxyType({"cpu": draw(counts), **amounts}),
        workdir=draw(st.just("") | words),
        stdin=draw(st.none() | st.builds(InputFile, st.just(""), words, st.integers(0, 9))),
    )


arrays = st.builds(
    ArraySpec,
    st.lists(st.builds(Range, counts, counts, counts), min_size=1, max_size=3).map(tuple),
    st.integers(0, 9),
)
policies = st.builds(
    RetryPolicy,
    st.dictionaries(st.sampled_from(list(FailureClass)[1:]), st.integers(0, 9), max_size=3).map(
        lambda rules: MappingProxyType({**DEFAULT_RETRY.retries, **rules})
    ),
    st.integers(0, 10**9),
    st.integers(10**9, 10**12),
)
specs = st.builds(
    JobSpec,
    project=words,
    queue=words,
    roles=st.lists(roles(), min_size=1, max_size=2).map(tuple),
    name=st.text(max_size=8),
    priority=st.integers(-100, 100),
    kind=words,
    array=st.none() | arrays,
    dependencies=st.lists(
        st.builds(Dependency, words, st.sampled_from(list(Condition))), max_size=2
    ).map(tuple),
    retry=policies,
    time_limit_s=st.integers(1, 10**6),
    start_after_us=st.none() | st.integers(0, 2**53),
    deadline_us=st.none() | st.integers(0, 2**53),
    labels=maps,
    request_id=st.text(max_size=8),
    hold=st.booleans(),
)


@given(specs)
def test_a_specification_comes_back_from_its_message_as_it_was(spec: JobSpec):
    assert spec.time_limit_s is not None
    message = job_pb2.JobSpec.FromString(spec_message(spec, spec.time_limit_s).SerializeToString())
    assert SpecReader().read(message, spec.project, "") == spec


@given(specs)
def test_a_specification_comes_back_from_its_row_as_it_was(spec: JobSpec):
    text = write(spec)
    assert read_spec(text) == spec
    assert write(read_spec(text)) == text


@given(st.lists(specs, max_size=3), st.lists(st.tuples(st.text(max_size=8), words), max_size=6))
def test_alike_jobs_that_come_together_are_read_written_and_shown_as_each_alone(
    several: list[JobSpec], own: list[tuple[str, str]]
):
    batch = [
        replace(
            spec, request_id=name, roles=(replace(spec.roles[0], command=(word,)), *spec.roles[1:])
        )
        for spec in several
        for name, word in own
    ]
    read, write_one = SpecReader().read, SpecWriter().write
    messages = [spec_message(spec, spec.time_limit_s or 1) for spec in batch]
    assert [
        read(message, spec.project, "") for message, spec in zip(messages, batch, strict=True)
    ] == batch
    assert [write_one(spec) for spec in batch] == [write(spec) for spec in batch]
    jobs = [a_job(spec=spec, time_limit_s=spec.time_limit_s) for spec in batch]
    answer = scheduler_pb2.SubmitJobsResponse()
    add_jobs(answer.jobs, jobs)
    assert list(answer.jobs) == [job_message(JobView(job)) for job in jobs]


@pytest.mark.parametrize("field", [each.name for each in fields_of(JobSpec)])
def test_jobs_are_alike_that_differ_by_the_requests_id_alone(field: str):
    one = a_spec(roles=(a_role(),))
    other = replace(one, **{field: (replace(one.roles[0], name="b"),) if field == "roles" else "x"})
    assert are_alike(one, other) == (field == "request_id")


@pytest.mark.parametrize("field", [each.name for each in fields_of(Role)])
def test_jobs_are_alike_that_differ_by_the_command_alone(field: str):
    one = a_spec(roles=(a_role(),))
    other = replace(one, roles=(replace(one.roles[0], **{field: ("x",)}),))
    assert are_alike(one, other) == (field == "command")
    assert not are_alike(one, replace(one, roles=one.roles * 2))


def test_words_that_stand_in_for_others_may_be_a_jobs_own():
    environment = MappingProxyType({"MARK": "\0here"})
    spec = a_spec(request_id="one", roles=(a_role(env=environment),))
    assert SpecWriter().write(spec) == write(spec)


def test_what_a_message_leaves_out_is_filled_in():
    message = job_pb2.JobSpec(roles=[job_pb2.Role(command=["true"])])
    assert SpecReader().read(message, "default", "") == a_spec()


def test_what_jobs_of_a_request_say_alike_is_one_object_and_what_differs_is_not():
    same, other = job_pb2.JobSpec(), job_pb2.JobSpec(labels={"b": "1"})
    for message, retries in ((same, 1), (other, 2)):
        message.retry.rules.add(failure_class=FailureClass.APPLICATION_ERROR, retries=retries)
        message.roles.add(command=["true"])
        message.labels["a"] = "1"
    reader = SpecReader()
    first, second, third = (reader.read(each, "default", "") for each in (same, same, other))
    assert first == second
    assert first.retry is second.retry
    assert first.labels is second.labels
    assert first.roles[0].resources is third.roles[0].resources
    assert (first.retry, first.labels) != (third.retry, third.labels)
    assert third.retry.retries[FailureClass.APPLICATION_ERROR] == 2


def test_a_minimum_makes_a_role_elastic():
    role = job_pb2.Role(command=["true"], replicas=3, min_replicas=3)
    spec = SpecReader().read(job_pb2.JobSpec(roles=[role]), "default", "")
    assert (spec.roles[0].elastic, spec.roles[0].min_replicas) == (True, 3)


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (job_pb2.JobSpec(dependencies=[job_pb2.Dependency(job_id="x")]), "dependencies.condition"),
        (
            job_pb2.JobSpec(retry=job_pb2.RetryPolicy(rules=[job_pb2.RetryPolicy.Rule()])),
            "retry.rules.failure_class",
        ),
        (
            job_pb2.JobSpec(
                retry=job_pb2.RetryPolicy(rules=[job_pb2.RetryPolicy.Rule(failure_class=99)])  # type: ignore[arg-type]
            ),
            "retry.rules.failure_class",
        ),
    ],
)
def test_numbers_that_mean_nothing_are_refused(message: job_pb2.JobSpec, field: str):
    with pytest.raises(InvalidRequestError) as caught:
        SpecReader().read(message, "default", "")
    assert caught.value.details["field"] == field


def test_a_fraction_of_a_second_counts_as_a_whole_one():
    message = job_pb2.JobSpec(roles=[job_pb2.Role(command=["true"])])
    message.time_limit.FromMilliseconds(1500)
    assert SpecReader().read(message, "default", "").time_limit_s == 2


def test_a_job_is_shown_with_times_usage_and_how_it_ended():
    job = a_job(
        state=JobState.FAILED,
        started_us=NOW_US + 1,
        ended_us=NOW_US + 2,
        failure_class=FailureClass.OUT_OF_MEMORY,
        exit_code=137,
        signal=9,
        usage=Usage(1.5, 7),
        reason="too much",
    )
    replica = ReplicaEnd("main", 2, JobState.FAILED, "node", 137, 2, 9, usage=Usage(1.5, 7))
    output = GangOutput("main", 2, OutputFile("plot.png", DIGEST, 5, 0o600))
    message = job_message(JobView(job, None, (replica,), ((0, output),)))
    assert message.submitted_at.ToMicroseconds() == NOW_US
    assert message.started_at.ToMicroseconds() == NOW_US + 1
    assert message.ended_at.ToMicroseconds() == NOW_US + 2
    assert (message.exit_code, message.signal, message.failure_class) == (137, 9, 2)
    assert (message.cpu_seconds, message.peak_memory_bytes) == (1.5, 7)
    assert (message.replicas[0].index, message.replicas[0].node) == (2, "node")
    assert (message.outputs[0].path, message.outputs[0].object.size_bytes) == ("plot.png", 5)
    assert not message.HasField("element")


def test_times_that_are_not_yet_are_left_out():
    message = job_message(JobView(a_job()))
    assert message.HasField("queued_at")
    assert not message.HasField("started_at")
    assert not message.HasField("ended_at")


def test_an_array_is_shown_by_runs_and_an_element_by_its_number():
    job = a_job(spec=a_spec(array=an_array(5)))
    job = replace(job, runs=(Run(0, 2, JobState.SUCCEEDED), Run(2, 3, JobState.QUEUED)))
    message = job_message(JobView(job))
    assert message.array.size == 5
    assert [(run.first, run.count, run.state) for run in message.array.runs] == [
        (0, 2, 5),
        (2, 3, 2),
    ]
    element = job_message(JobView(job, 3))
    assert element.element == 3
    assert not element.HasField("array")


def test_an_event_without_a_state_before_is_the_submit():
    event = Event(7, 1, "job_1", NOW_US, None, JobState.QUEUED)
    message = event_message(event, None)
    assert (message.revision, message.from_state, message.to_state) == (7, 0, 2)
    assert not message.HasField("element")


def test_a_filter_becomes_a_query():
    message = scheduler_pb2.JobFilter(
        project="p",
        states=[2, 4],  # type: ignore[list-item]
        label_selector="a=b",
        job_ids=["job_1.7", "job_2"],
    )
    query = query_of(message)
    assert query.states == {JobState.QUEUED, JobState.RUNNING}
    assert query.job_ids == {"job_1", "job_2"}
    with pytest.raises(InvalidRequestError, match=r"filter\.states"):
        query_of(scheduler_pb2.JobFilter(states=[0]))  # type: ignore[list-item]


def test_a_new_queue_has_a_default_limit_within_its_longest():
    message = scheduler_pb2.Queue(name="short")
    message.max_time_limit.seconds = 60
    queue = queue_of(message, "default")
    assert (queue.default_time_limit_s, queue.max_time_limit_s) == (60, 60)


def test_only_the_fields_that_are_named_change():
    queue = scheduler_pb2.Queue(priority=5, closed=True)
    request = scheduler_pb2.UpdateQueueRequest(queue=queue, fields=["priority"])
    assert queue_changes_of(request) == {"priority": 5}
    for fields in (["colour"], []):
        with pytest.raises(InvalidRequestError, match="quota, default_time_limit"):
            queue_changes_of(scheduler_pb2.UpdateQueueRequest(queue=queue, fields=fields))


def test_a_cancel_has_ten_seconds_of_grace_unless_it_says_otherwise():
    request = scheduler_pb2.CancelJobsRequest()
    assert grace_of(request) == 10.0
    request.grace.FromMilliseconds(250)
    assert grace_of(request) == 0.25
    request.grace.seconds = -1
    with pytest.raises(InvalidRequestError, match="grace"):
        grace_of(request)


@pytest.mark.parametrize(
    "wrong", [{"offset": -1}, {"tail_lines": -1}, {"attempt": -1}, {"stream": 9}]
)
def test_a_log_query_that_makes_no_sense_is_refused(wrong: dict[str, Any]):
    with pytest.raises(InvalidRequestError):
        log_query_of(scheduler_pb2.ReadLogsRequest(**wrong))


def test_a_log_query_takes_both_streams_of_every_replica_by_default():
    query = log_query_of(scheduler_pb2.ReadLogsRequest())
    assert (query.index, query.streams) == (None, (LogStream.STDOUT, LogStream.STDERR))
    assert log_query_of(scheduler_pb2.ReadLogsRequest(index=0)).index == 0


def test_roles_keep_their_order():
    spec = a_spec(a_role("b"), a_role("a"))
    assert [role.name for role in spec_message(spec, 1).roles] == ["b", "a"]
