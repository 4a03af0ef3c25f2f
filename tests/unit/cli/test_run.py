from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import grpc
import pytest
from gridloom.api.objects.v1 import objects_pb2
from gridloom.api.scheduler.v1 import job_pb2
from gridloom.api.scheduler.v1 import scheduler_pb2 as pb
from gridloom.cli.running import environment_of, pairs, point_of, sources, unmatched
from gridloom.errors import InvalidRequestError

from tests.support.scripted import Abort
from tests.unit.sdk.jobs.examples import JOB, array, job

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.scripted import ScriptedPlatform
    from tests.unit.cli.conftest import CommandLine

CRASH = job_pb2.FAILURE_CLASS_APPLICATION_ERROR


def play(platform: ScriptedPlatform, end: job_pb2.Job, out: bytes = b"", err: bytes = b"") -> None:
    """A job that is accepted, writes this, and ends so."""
    stdout = pb.ReadLogsResponse(role="main", stream=pb.LOG_STREAM_STDOUT, data=out)
    stderr = pb.ReadLogsResponse(role="main", stream=pb.LOG_STREAM_STDERR, data=err)
    platform.script("SubmitJobs", pb.SubmitJobsResponse(jobs=[job("QUEUED")]))
    platform.script("ReadLogs", [stdout, stderr])
    platform.script("GetJob", pb.GetJobResponse(job=end))


def submitted(platform: ScriptedPlatform) -> job_pb2.JobSpec:
    spec: job_pb2.JobSpec = platform.requests["SubmitJobs"][0].jobs[0]
    return spec


def test_output_is_the_commands_and_so_is_the_exit_code(
    gridloom: CommandLine, platform: ScriptedPlatform
):
    play(platform, job("SUCCEEDED"), b"out\n", b"err\n")
    ended = gridloom("run", "--", "echo", "out")
    assert (ended.code, ended.out, ended.err) == (0, "out\n", "err\n")
    play(platform, job("FAILED", exit_code=7, failure_class=CRASH), b"out\n")
    ended = gridloom("run", "echo", "--flag")
    assert (ended.code, ended.out, ended.err) == (7, "out\n", "")


def test_what_the_command_could_not_say_itself_is_said_for_it(
    gridloom: CommandLine, platform: ScriptedPlatform
):
    play(platform, job("FAILED", signal=11, failure_class=CRASH))
    ended = gridloom("run", "./crash")
    assert ended.code == 128 + 11
    assert ended.err == f"gridloom: {JOB} (solver) failed: killed by SIGSEGV\n"
    play(platform, job("CANCELLED", reason="by ada"))
    ended = gridloom("run", "sleep", "1")
    assert "was cancelled: by ada" in ended.err


def test_a_command_that_does_not_exist_is_127_with_a_word_of_ours(
    gridloom: CommandLine, platform: ScriptedPlatform
):
    missing = job("FAILED", exit_code=127, failure_class=CRASH, reason="command not found: x")
    missing.ClearField("started_at")
    play(platform, missing)
    ended = gridloom("run", "x")
    assert ended.code == 127
    assert "command not found: x" in ended.err


def test_an_array_ends_as_its_first_bad_element(gridloom: CommandLine, platform: ScriptedPlatform):
    whole = array({"SUCCEEDED": 1, "FAILED": 2}, "FAILED")
    play(platform, whole)
    bad = job("FAILED", exit_code=9, failure_class=CRASH)
    answers = {JOB: pb.GetJobResponse(job=whole), f"{JOB}.1": pb.GetJobResponse(job=bad)}
    platform.script("GetJob", lambda request: answers[request.job_id])
    ended = gridloom("run", "--array", "0-2%2", "--", "fit", "{index}")
    assert ended.code == 9
    assert "2 of 3 elements (1, 2); element 1: exit code 9" in ended.err
    assert submitted(platform).array.max_parallel == 2


def test_every_option_is_a_word_of_the_sdk(gridloom: CommandLine, platform: ScriptedPlatform):
    play(platform, job("SUCCEEDED"))
    options = "--cpus 2 --memory 1GiB --name fit --priority 3 --queue fast -t 2h --retries 1 --hold"
    more = f"-l study=a -l step=1 -e A=b --after {JOB} --replicas 2 --deadline +2h --request-id r1"
    ended = gridloom("run", *options.split(), *more.split(), "--", "fit", "--cpus", "9")
    assert ended.code == 0
    spec = submitted(platform)
    role = spec.roles[0]
    assert list(role.command) == ["fit", "--cpus", "9"]
    assert (role.resources["cpu"], role.resources["memory"]) == (2000, 1024**3)
    assert (spec.name, spec.priority, spec.queue, spec.hold) == ("fit", 3, "fast", True)
    assert (dict(spec.labels), dict(role.env)) == ({"study": "a", "step": "1"}, {"A": "b"})
    assert (spec.time_limit.seconds, role.replicas, spec.request_id) == (7200, 2, "r1")
    assert spec.dependencies[0].job_id == JOB
    assert abs(spec.deadline.seconds - datetime.now(UTC).timestamp() - 7200) < 600


def test_a_shells_line_stays_a_line(gridloom: CommandLine, platform: ScriptedPlatform):
    play(platform, job("SUCCEEDED"))
    gridloom("run", "--shell", "--", "echo a | wc -c > $HOME/x")
    assert list(submitted(platform).roles[0].command) == [
        "/bin/sh",
        "-c",
        "echo a | wc -c > $HOME/x",
    ]


def test_detached_it_prints_the_id_and_leaves(gridloom: CommandLine, platform: ScriptedPlatform):
    play(platform, job("SUCCEEDED"))
    assert gridloom("run", "-d", "--", "true").out == f"{JOB}\n"
    assert gridloom("run", "-d", "--json", "--", "true").document[0]["id"] == JOB
    assert not platform.requests["ReadLogs"]


def test_files_travel_and_outputs_come_back(
    gridloom: CommandLine, platform: ScriptedPlatform, tmp_path: Path
):
    end = job("SUCCEEDED")
    end.outputs.add(role="main", path="result.txt").object.digest = "sha256:1"
    play(platform, end)
    stat = objects_pb2.ObjectStat(exists=True)
    ref = objects_pb2.ObjectRef(digest="sha256:1", size_bytes=2)
    platform.script("StatObjects", objects_pb2.StatObjectsResponse(objects=[stat]))
    platform.script("GetObject", [objects_pb2.GetObjectResponse(object=ref, chunk=b"42")])
    (tmp_path / "in.dat").write_text("1")
    sent = f"input.dat={tmp_path}/in.dat"
    ended = gridloom(*("run", "-f", sent, "-o", "*.txt", "--output-dir", str(tmp_path)), "--", "x")
    assert submitted(platform).roles[0].files[0].path == "input.dat"
    assert list(submitted(platform).roles[0].outputs) == ["*.txt"]
    assert (tmp_path / "result.txt").read_text() == "42"
    assert f"brought {tmp_path}/result.txt" in ended.err


def test_what_gridloom_could_not_do_is_125(gridloom: CommandLine, platform: ScriptedPlatform):
    refusal = Abort(grpc.StatusCode.INVALID_ARGUMENT, "no such queue", "INVALID_REQUEST")
    platform.script("SubmitJobs", refusal)
    ended = gridloom("run", "--", "true")
    assert (ended.code, ended.err) == (125, "gridloom: no such queue\n")
    assert gridloom("run", "--memory", "much", "--", "true").code == 125
    assert gridloom("run").code == 125


def test_a_check_submits_nothing(gridloom: CommandLine, platform: ScriptedPlatform):
    platform.script("SubmitJobs", pb.SubmitJobsResponse(jobs=[job("QUEUED", "")]))
    ended = gridloom("run", "--validate-only", "--", "true")
    assert (ended.code, ended.err) == (0, "valid: nothing was submitted\n")


def test_pairs_are_name_and_value():
    assert pairs(["a=b=c"], "--label") == {"a": "b=c"}
    with pytest.raises(InvalidRequestError, match='--label "a" is not KEY=VALUE'):
        pairs(["a"], "--label")


def test_an_environment_variable_without_a_value_has_the_one_it_has_here():
    assert environment_of(["A=1", "B"], {"B": "2"}) == {"A": "1", "B": "2"}
    with pytest.raises(InvalidRequestError, match="has no value here"):
        environment_of(["C"], {})


def test_sources_may_have_names():
    assert sources(["a", "b"]) == ["a", "b"]
    assert sources(["x=/a", "b"]) == {"x": "/a", "b": "b"}


def test_points_may_be_said_from_now():
    ahead = point_of("+90s")
    assert isinstance(ahead, datetime)
    assert timedelta(seconds=30) < ahead - datetime.now(UTC) <= timedelta(seconds=90)
    assert point_of("nonsense") == "nonsense"
    local = point_of("2030-01-01T08:00")
    assert isinstance(local, datetime)
    assert local.tzinfo is not None


def test_a_zero_that_was_said_is_not_as_if_nothing_was_said(
    gridloom: CommandLine, platform: ScriptedPlatform
):
    ended = gridloom("run", "--cpus", "0", "--", "true")
    assert (ended.code, "cpus cannot be 0" in ended.err) == (125, True)
    assert "SubmitJobs" not in platform.requests


@pytest.mark.parametrize(
    ("patterns", "paths", "missing"),
    [
        (["a.txt", "b.txt"], ["a.txt"], ["b.txt"]),
        (["./a.txt", "d", "*.log", "e/**"], ["a.txt", "d/x", "y.log"], []),
        (["e/**"], [], ["e/**"]),
    ],
)
def test_outputs_that_were_asked_for_and_not_left_are_known(
    patterns: list[str], paths: list[str], missing: list[str]
):
    assert unmatched(patterns, paths) == missing


def test_an_output_that_is_not_there_is_said(gridloom: CommandLine, platform: ScriptedPlatform):
    play(platform, job("SUCCEEDED"))
    ended = gridloom("run", "-o", "plot.png", "--", "true")
    assert (ended.code, ended.err) == (0, 'gridloom: it left no file "plot.png"\n')


def test_a_check_answers_programs_too(gridloom: CommandLine, platform: ScriptedPlatform):
    platform.script("SubmitJobs", pb.SubmitJobsResponse(jobs=[job("QUEUED")]))
    assert gridloom("run", "--validate-only", "--json", "--", "true").document == {"valid": True}


def test_what_has_no_effect_here_is_said_beside_the_output(
    gridloom: CommandLine, platform: ScriptedPlatform
):
    sentence = 'image "a:1" has no effect'
    accepted = pb.SubmitJobsResponse(jobs=[job("QUEUED")], warnings=[sentence])
    platform.script("SubmitJobs", accepted)
    ended = gridloom("run", "-d", "--image", "a:1", "--", "true")
    assert (ended.code, ended.err) == (0, f"gridloom: warning: {sentence}\n")
