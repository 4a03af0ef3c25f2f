from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from gridloom import Retries, Role
from gridloom.api.objects.v1.objects_pb2 import ObjectRef
from gridloom.api.scheduler.v1 import job_pb2
from gridloom.errors import InvalidRequestError, NotFoundError
from gridloom.jobs.request import (
    JobDraft,
    command_words,
    job_draft,
    retry_policy,
    words_in_common,
)

JOB = "job_" + "0" * 26


def draft(command: Any = ("true",), folder: Path = Path("/"), **options: Any) -> JobDraft:
    return job_draft(command, options, folder=folder, project="chem", queue="cpu")  # type: ignore[arg-type]


def test_the_words_of_a_job_become_its_specification():
    spec = draft(
        ["./solver", "--n", 100],
        cpus=4,
        memory="8GiB",
        gpus=2,
        time_limit="2h",
        priority=5,
        labels={"study": "a", "step": 3},
        env={"OMP_NUM_THREADS": 4},
        outputs="plot.png",
        image="python:3.12",
        hold=True,
    ).spec
    role = spec.roles[0]
    assert list(role.command) == ["./solver", "--n", "100"]
    assert dict(role.resources) == {"cpu": 4000, "memory": 8 * 1024**3, "nvidia.com/gpu": 2}
    assert dict(role.env) == {"OMP_NUM_THREADS": "4"}
    assert list(role.outputs) == ["plot.png"]
    assert (role.name, role.image, role.replicas, role.min_replicas) == (
        "main",
        "python:3.12",
        1,
        0,
    )
    assert spec.time_limit.seconds == 7200
    assert (spec.name, spec.kind, spec.priority, spec.hold) == ("solver", "command", 5, True)
    assert dict(spec.labels) == {"study": "a", "step": "3"}


def test_what_is_not_said_comes_from_the_context():
    spec = draft().spec
    assert (spec.project, spec.queue) == ("chem", "cpu")
    assert dict(spec.roles[0].resources) == {"cpu": 1000}
    assert draft(project="bio", queue="fast").spec.project == "bio"


def test_what_a_command_reads_travels_without_a_name(tmp_path: Path):
    (tmp_path / "data.txt").write_text("in a file")
    for stdin, source in ((b"bytes", b"bytes"), ("data.txt", tmp_path / "data.txt")):
        made = draft(["cat"], tmp_path, stdin=stdin, files={"a": b""})
        assert [file.source for file in made.files[0]] == [source, b""]
        refs = [[ObjectRef(digest="sha256:in"), ObjectRef(digest="sha256:a")]]
        role = made.with_objects(refs).roles[0]
        assert [file.path for file in role.files] == ["a"]
        assert role.stdin.digest == "sha256:in"
    assert not draft(["cat"]).with_objects([[]]).roles[0].HasField("stdin")


def test_what_cannot_be_read_is_refused(tmp_path: Path):
    with pytest.raises(NotFoundError, match=f"there is no file {tmp_path}/nothing"):
        draft(["cat"], tmp_path, stdin="nothing")
    with pytest.raises(InvalidRequestError, match="stdin cannot be 7"):
        draft(["cat"], stdin=7)


def test_every_submission_has_a_request_id_of_its_own_unless_one_is_given():
    assert draft().spec.request_id != draft().spec.request_id
    assert draft(request_id="mine").spec.request_id == "mine"


def test_a_misspelt_word_is_refused_with_the_right_one():
    with pytest.raises(InvalidRequestError) as refusal:
        draft(cpu=1)
    assert str(refusal.value) == 'unknown option "cpu"; did you mean "cpus"?'


@pytest.mark.parametrize(
    ("command", "shell", "words"),
    [
        (["a", "b c"], False, ["a", "b c"]),
        ("hostname", False, ["hostname"]),
        ("python plot.py | tee x", True, ["/bin/sh", "-c", "python plot.py | tee x"]),
        (["echo", "a b"], True, ["/bin/sh", "-c", "echo 'a b'"]),
        ([Path("/bin/ls"), 1, 2.5], False, ["/bin/ls", "1", "2.5"]),
    ],
)
def test_commands_are_words_or_a_shells_line(command: Any, shell: bool, words: list[str]):  # noqa: FBT001
    assert command_words(command, shell=shell) == words


@pytest.mark.parametrize("command", ["python plot.py", [], [""], [None], "", None])
def test_what_is_no_command_is_refused(command: Any):
    with pytest.raises(InvalidRequestError) as refusal:
        draft(command)
    assert refusal.value.field == "command"


def test_dependencies_are_handles_or_ids_alone_or_in_lists():
    spec = draft(after=JOB, after_any=[JOB, f"{JOB}.7"], after_failure=[[JOB]]).spec
    conditions = job_pb2.Dependency
    assert [(each.job_id, each.condition) for each in spec.dependencies] == [
        (JOB, conditions.CONDITION_AFTER_OK),
        (JOB, conditions.CONDITION_AFTER_ANY),
        (f"{JOB}.7", conditions.CONDITION_AFTER_ANY),
        (JOB, conditions.CONDITION_AFTER_FAILURE),
    ]
    for wrong in ("call_x", [3]):
        with pytest.raises(InvalidRequestError):
            draft(after=wrong)


def test_points_in_time_travel_in_utc():
    spec = draft(start_after=datetime(2030, 1, 1, tzinfo=UTC), deadline="2030-01-02T00:00Z").spec
    assert spec.deadline.seconds - spec.start_after.seconds == 86_400


def test_arrays_and_their_cap():
    spec = draft(array="0-99%10").spec
    assert [(r.first, r.last, r.step) for r in spec.array.ranges] == [(0, 99, 1)]
    assert spec.array.max_parallel == 10
    with pytest.raises(InvalidRequestError, match="needs an array"):
        draft(max_parallel=3)


def test_retries_are_counted_by_failure_class():
    policy = retry_policy(Retries(node_lost=3, error=1, backoff="2s"))
    assert {rule.failure_class: rule.retries for rule in policy.rules} == {
        job_pb2.FAILURE_CLASS_NODE_LOST: 3,
        job_pb2.FAILURE_CLASS_APPLICATION_ERROR: 1,
    }
    assert policy.backoff.seconds == 2
    plain = draft(retries=2).spec.retry.rules[0]
    assert (plain.failure_class, plain.retries) == (job_pb2.FAILURE_CLASS_APPLICATION_ERROR, 2)
    for wrong in (-1, "2", True):
        with pytest.raises(InvalidRequestError):
            draft(retries=wrong)


def test_a_flavour_names_the_gpus_resource():
    assert "nvidia.com/mig-1g.5gb" in draft(gpus=1, gpu_flavor="mig-1g.5gb").spec.roles[0].resources
    assert "amd.com/gpu" in draft(gpus=1, gpu_flavor="amd.com/gpu").spec.roles[0].resources
    with pytest.raises(InvalidRequestError, match="needs gpus"):
        draft(gpu_flavor="a100")


def test_roles_make_a_gang():
    roles = [Role("chief", ["a"], cpus=2), Role("worker", ["b"], replicas=4, min_replicas=2)]
    spec = draft(None, roles=roles).spec
    found = [(role.name, role.replicas, role.min_replicas) for role in spec.roles]
    assert found == [("chief", 1, 0), ("worker", 4, 2)]
    with pytest.raises(InvalidRequestError, match="cpus belongs to each role"):
        draft(None, roles=roles, cpus=1)
    with pytest.raises(InvalidRequestError, match="command belongs to each role"):
        draft(["x"], roles=roles)
    with pytest.raises(InvalidRequestError, match="different names"):
        draft(None, roles=[roles[0], roles[0]])


@pytest.mark.parametrize("field", ["env", "labels"])
def test_values_without_a_text_are_refused(field: str):
    with pytest.raises(InvalidRequestError, match=f"{field}.*'A'.*cannot be None"):
        draft(**{field: {"A": None}})


def test_files_get_their_digests_when_they_are_stored(tmp_path: Path):
    (tmp_path / "solver").write_text("x")
    (tmp_path / "solver").chmod(0o700)
    made = draft(["./solver"], tmp_path, files={"input.dat": b"1"})
    assert [file.path for file in made.files[0]] == ["solver", "input.dat"]
    refs = [[ObjectRef(digest="sha256:a"), ObjectRef(digest="sha256:b")]]
    stored = made.with_objects(refs).roles[0].files
    found = [(file.path, file.object.digest, file.mode) for file in stored]
    assert found == [("solver", "sha256:a", 0o700), ("input.dat", "sha256:b", 0o644)]
    assert not made.spec.roles[0].files


def test_the_program_stays_where_it_is_when_the_job_runs_in_a_folder_of_the_users(tmp_path: Path):
    (tmp_path / "solver").write_text("x")
    assert draft(["./solver"], tmp_path, workdir=str(tmp_path)).files == ((),)


def test_two_files_of_one_name_are_refused(tmp_path: Path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x").touch()
    with pytest.raises(InvalidRequestError, match='both be called "x"'):
        draft(folder=tmp_path / "c", files=[str(tmp_path / "a" / "x"), str(tmp_path / "b" / "x")])


def test_volumes_and_secrets_travel_as_references():
    (role,) = draft(
        volumes={"/data": "datasets:ro", "/scratch": "scratch"},
        secrets={"DB_PASSWORD": "db/password", "/etc/keys/id": "ssh/id_ed25519"},
    ).spec.roles
    assert [(v.claim, v.mount_path, v.read_only) for v in role.volumes] == [
        ("datasets", "/data", True),
        ("scratch", "/scratch", False),
    ]
    assert [(s.name, s.key, s.target) for s in role.secrets] == [
        ("db", "password", "DB_PASSWORD"),
        ("ssh", "id_ed25519", "/etc/keys/id"),
    ]


@pytest.mark.parametrize("place", ["hunter2", "db/", "/password"])
def test_a_secret_that_is_no_reference_is_refused(place: str):
    with pytest.raises(InvalidRequestError, match="NAME/KEY is expected") as caught:
        draft(secrets={"DB_PASSWORD": place})
    assert place not in str(caught.value)


def test_other_arguments_make_the_job_that_would_have_been_made_of_them():
    found = draft(["true", "1"], cpus=2, labels={"a": 1}).with_command(["true", "2", "3"])
    asked = draft(["true", "2", "3"], cpus=2, labels={"a": 1})
    assert found.spec.request_id != asked.spec.request_id
    found.spec.request_id = asked.spec.request_id
    assert found == asked


def test_jobs_are_alike_that_differ_by_their_arguments_alone():
    first = words_in_common(["true", "1"], {"cpus": 2, "labels": {"a": "b"}})
    assert first
    assert words_in_common(("true", "2"), {"cpus": 2, "labels": {"a": "b"}}) == first


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (["false", "1"], {"cpus": 1}),
        (["python", "a.py"], {"cpus": 1}),
        (["true", "1"], {"cpus": True}),
        (["true", "1"], {"cpus": 1.0}),
        (["true", "1"], {"cpus": 1, "request_id": "mine"}),
        (["true", 1], {"cpus": 1}),
        ("true", {"cpus": 1}),
        (["true", "1"], {"cpus": 1, "shell": True}),
        (["/bin/sh", "-c", "true"], {"cpus": 1}),
        (["true", "1"], {"cpus": 1, "stdin": Path("/x")}),
    ],
)
def test_what_may_mean_another_job_is_not_alike(command: Any, options: dict[str, Any]):
    assert words_in_common(command, options) != words_in_common(["true", "1"], {"cpus": 1})


def test_scripts_of_an_interpreter_are_not_alike():
    first, second = (words_in_common(["python", name], {}) for name in ("a.py", "b.py"))
    assert first != second
