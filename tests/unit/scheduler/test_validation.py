from __future__ import annotations

from dataclasses import fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest
from gridloom_services.common.errors import InvalidRequestError
from gridloom_services.scheduler.runtime.base import InputFile, Secret, Volume
from gridloom_services.scheduler.spec import (
    DEFAULT_RETRY,
    ArraySpec,
    Condition,
    Dependency,
    Range,
    RetryPolicy,
)
from gridloom_services.scheduler.states import FailureClass
from gridloom_services.scheduler.validation import SpecChecks

from tests.support.scheduler import NOW_US, a_role, a_spec

if TYPE_CHECKING:
    from gridloom_services.scheduler.spec import JobSpec

DIGEST = "sha256:" + "0" * 64


def a_file(path: str, **changes: object) -> InputFile:
    return InputFile(**{"path": path, "digest": DIGEST, "size_bytes": 1} | changes)


def with_role(**changes: object) -> JobSpec:
    return a_spec(a_role(**changes))


def with_array(*ranges: Range, max_parallel: int = 0) -> JobSpec:
    return a_spec(array=ArraySpec(ranges, max_parallel))


def test_a_specification_that_uses_everything_is_accepted():
    role = a_role(
        name="worker-1",
        replicas=4,
        min_replicas=2,
        elastic=True,
        image="registry/app:1.0",
        command=("python", "-c", "print('{index}')"),
        env={"SEED": "1", "_X": ""},
        files=(a_file("in/data.bin"), a_file("in/other.bin", mode=0o755)),
        outputs=("out/*.png", "log"),
        volumes=(Volume("claim", "/data"),),
        secrets=(Secret("name", "key", "TOKEN"), Secret("name", "key", "/etc/key")),
        resources={"cpu": 1, "memory": 1 << 30, "nvidia.com/gpu": 2},
        workdir="/srv/work",
    )
    spec = a_spec(
        role,
        a_role("other"),
        name="a name with spaces",
        labels={"study": "a", "team/site": ""},
        array=ArraySpec((Range(0, 9), Range(20, 28, 2), Range(11, 11)), 3),
        dependencies=(Dependency("job_1", Condition.AFTER_ANY),),
        retry=RetryPolicy({FailureClass.APPLICATION_ERROR: 2}),
        time_limit_s=60,
        start_after_us=NOW_US + 1,
        deadline_us=NOW_US + 2,
        request_id="request-1/x",
        priority=-5,
        hold=True,
    )
    SpecChecks(NOW_US).check(spec)


REFUSED = {
    "name": a_spec(name="a\nb"),
    "kind": a_spec(kind="Command"),
    "priority": a_spec(priority=10_001),
    "request_id": a_spec(request_id="with space"),
    "time_limit": a_spec(time_limit_s=0),
    "deadline": a_spec(deadline_us=NOW_US - 1),
    "start_after": a_spec(start_after_us=NOW_US + 9, deadline_us=NOW_US + 5),
    "labels": a_spec(labels={"no spaces": "x"}),
    "labels.a": a_spec(labels={"a": "x" * 64}),
    "retry.rules.node lost": a_spec(retry=RetryPolicy({FailureClass.NODE_LOST: -1})),
    "retry.backoff": a_spec(retry=RetryPolicy({}, backoff_us=-1)),
    "retry.max_backoff": a_spec(retry=RetryPolicy({}, backoff_us=9, max_backoff_us=8)),
    "dependencies": a_spec(
        dependencies=tuple(Dependency(f"job_{i}", Condition.AFTER_OK) for i in range(1001))
    ),
    "array.ranges": with_array(),
    "array.ranges[0].first": with_array(Range(-1, 3)),
    "array.ranges[1].last": with_array(Range(5, 6), Range(3, 2)),
    "array.ranges[0].step": with_array(Range(0, 3, 0)),
    "array.max_parallel": with_array(Range(0, 3), max_parallel=-1),
    "roles[0].name": with_role(name="Main"),
    "roles[0].replicas": with_role(replicas=0),
    "roles[0].min_replicas": with_role(replicas=2, min_replicas=3),
    "roles[0].per_node": with_role(replicas=2, min_replicas=2, per_node=3),
    "roles[0].command": with_role(command=()),
    "roles[0].command[1]": with_role(command=("echo", "a\0b")),
    "roles[0].env": with_role(env={"A=B": "x"}),
    "roles[0].env.LONG": with_role(env={"LONG": "x" * 131_072}),
    "roles[0].files": with_role(files=(a_file("a"), a_file("a"))),
    "roles[0].files[0].path": with_role(files=(a_file("../secret"),)),
    "roles[0].files[0].object": with_role(files=(a_file("a", digest="md5:0"),)),
    "roles[0].files[0].mode": with_role(files=(a_file("a", mode=0o4755),)),
    "roles[0].stdin": with_role(stdin=a_file("", digest="md5:0")),
    "roles[0].outputs[1]": with_role(outputs=("ok", "/etc/passwd")),
    "roles[0].resources.cpu": with_role(resources={"cpu": 0}),
    "roles[0].resources.memory": with_role(resources={"memory": -1}),
    "roles[0].resources": with_role(resources={"no spaces": 1}),
    "roles[0].workdir": with_role(workdir="relative"),
    "roles[0].image": with_role(image="a b"),
    "roles[0].volumes[0]": with_role(volumes=(Volume("claim", "data"),)),
    "roles[0].secrets[0]": with_role(secrets=(Secret("name", "key", "1X"),)),
    "roles": a_spec(a_role("a"), a_role("a")),
}


@pytest.mark.parametrize("field", REFUSED)
def test_what_is_wrong_is_refused_naming_field_value_and_what_is_allowed(field: str):
    with pytest.raises(InvalidRequestError) as refusal:
        SpecChecks(NOW_US).check(REFUSED[field])
    details = refusal.value.details
    assert details["field"] == field
    assert details["given"]
    assert details["allowed"]
    assert field in str(refusal.value)


@pytest.mark.parametrize("field", REFUSED)
def test_what_is_wrong_is_refused_also_behind_jobs_that_share_what_is_right(field: str):
    wrong, checks = REFUSED[field], SpecChecks(NOW_US)
    checks.check(_mended(wrong, field))
    with pytest.raises(InvalidRequestError) as refusal:
        checks.check(wrong)
    assert refusal.value.details["field"] == field


def _mended(wrong: JobSpec, field: str) -> JobSpec:
    """The same specification, its parts the very same objects, but for what is refused."""
    name = field.rpartition("roles[0].")[2].partition("[")[0].partition(".")[0]
    if "roles[0]" not in field:
        part = next(each.name for each in fields(wrong) if each.name.startswith(name))
        return replace(wrong, **{part: getattr(a_spec(), part)})
    names = ("replicas", "min_replicas") if name.endswith("replicas") else (name,)
    role = replace(wrong.roles[0], **{each: getattr(a_role(), each) for each in names})
    return replace(wrong, roles=(role,))


def test_in_a_batch_the_field_says_which_job():
    with pytest.raises(InvalidRequestError) as refusal:
        SpecChecks(NOW_US).check(a_spec(priority=99_999), "jobs[7].")
    assert refusal.value.details["field"] == "jobs[7].priority"


@pytest.mark.parametrize("path", ["", ".", "..", "a/../b", "/abs", "a\0b"])
def test_a_path_stays_below_the_working_folder(path: str):
    with pytest.raises(InvalidRequestError, match="below the working folder"):
        SpecChecks(NOW_US).check(with_role(outputs=(path,)))


def test_a_file_cannot_be_the_folder_of_another():
    with pytest.raises(InvalidRequestError, match="no folder of another"):
        SpecChecks(NOW_US).check(with_role(files=(a_file("a"), a_file("a/b"))))


@pytest.mark.parametrize(
    ("ranges", "fits"),
    [
        ((Range(0, 9), Range(10, 19)), True),
        ((Range(0, 9), Range(9, 12)), False),
        ((Range(0, 8, 2), Range(1, 9, 2)), True),
        ((Range(0, 8, 2), Range(1, 9, 3)), False),
    ],
)
def test_each_elements_number_comes_once(ranges: tuple[Range, ...], *, fits: bool):
    spec = with_array(*ranges)
    if fits:
        SpecChecks(NOW_US).check(spec)
    else:
        with pytest.raises(InvalidRequestError, match="number once"):
            SpecChecks(NOW_US).check(spec)


def test_too_many_elements_are_refused_with_the_limit():
    with pytest.raises(InvalidRequestError, match=r"1000001 elements.: at most 1000000"):
        SpecChecks(NOW_US).check(with_array(Range(0, 1_000_000)))


@pytest.mark.parametrize("name", ["GRIDLOOM_TOKEN", "GRIDLOOM_JOB_ID"])
def test_what_the_runtime_tells_a_process_cannot_be_set(name: str):
    with pytest.raises(InvalidRequestError, match="Gridloom does not set itself"):
        SpecChecks(NOW_US).check(with_role(env={name: "x"}))


def test_a_long_value_is_cut_in_the_message():
    with pytest.raises(InvalidRequestError) as refusal:
        SpecChecks(NOW_US).check(a_spec(name="\n" * 10_000))
    assert len(str(refusal.value)) < 500


def test_the_default_retries_are_the_promised_ones():
    assert DEFAULT_RETRY.retries == MappingProxyType(
        {
            FailureClass.NODE_LOST: 3,
            FailureClass.PREEMPTED: 3,
            FailureClass.EVICTED: 3,
            FailureClass.UNSCHEDULABLE: 3,
        }
    )
