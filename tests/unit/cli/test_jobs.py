from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from gridloom.api.scheduler.v1 import job_pb2
from gridloom.api.scheduler.v1 import scheduler_pb2 as pb

from tests.support.scripted import Abort
from tests.unit.sdk.jobs.examples import JOB, OTHER, array, job

if TYPE_CHECKING:
    from tests.support.scripted import ScriptedPlatform
    from tests.unit.cli.conftest import CommandLine


@pytest.fixture
def listed(platform: ScriptedPlatform) -> ScriptedPlatform:
    failed = job("FAILED", OTHER, reason="exit code 3 " + "x" * 200)
    platform.script("ListJobs", pb.ListJobsResponse(jobs=[job(), failed]))
    return platform


@pytest.mark.usefixtures("listed")
class TestList:
    def test_people_get_a_table(self, gridloom: CommandLine):
        lines = gridloom("jobs", "list").out.splitlines()
        assert lines[0].split() == ["JOB", "NAME", "STATE", "QUEUE", "AGE", "RUN", "REASON"]
        assert lines[1].split()[:4] == [JOB, "solver", "RUNNING", "cpu"]
        assert lines[2].rstrip().endswith("x" * 200)

    def test_what_waits_says_why(self, gridloom: CommandLine, platform: ScriptedPlatform):
        platform.script(
            "ListJobs", pb.ListJobsResponse(jobs=[job("QUEUED"), job("RUNNING", OTHER)])
        )
        message = "not enough is free"
        reason = pb.PENDING_REASON_RESOURCES
        platform.script("ExplainJob", pb.ExplainJobResponse(reason=reason, message=message))
        lines = gridloom("jobs", "list").out.splitlines()
        assert lines[1].rstrip().endswith(message)
        assert message not in lines[2]
        assert [each.job_id for each in platform.requests["ExplainJob"]] == [JOB]

    def test_programs_get_an_array(self, gridloom: CommandLine):
        assert [each["id"] for each in gridloom("jobs", "list", "--json").document] == [JOB, OTHER]

    def test_scripts_get_ids(self, gridloom: CommandLine):
        assert gridloom("jobs", "list", "-q").out == f"{JOB}\n{OTHER}\n"

    def test_nothing_is_said_beside_the_results(
        self, gridloom: CommandLine, platform: ScriptedPlatform
    ):
        platform.script("ListJobs", pb.ListJobsResponse())
        ended = gridloom("jobs", "list")
        assert (ended.out, ended.err) == ("", "no jobs\n")
        assert gridloom("jobs", "list", "--json").out == "[]\n"
        assert gridloom("jobs", "list", "--quiet").err == ""

    def test_filters_travel(self, gridloom: CommandLine, listed: ScriptedPlatform):
        gridloom("jobs", "list", "-s", "active", "-l", "study=a", "--project", "chem")
        asked = listed.requests["ListJobs"][0].filter
        assert (asked.label_selector, asked.project, len(asked.states)) == ("study=a", "chem", 2)

    def test_an_unknown_state_is_wrong_usage(self, gridloom: CommandLine):
        ended = gridloom("jobs", "list", "--state", "runing")
        assert ended.code == 2
        assert 'did you mean "running"' in ended.err

    def test_no_colours_in_a_pipe(self, gridloom: CommandLine):
        assert "\x1b" not in gridloom("jobs", "list").out


class TestShow:
    def test_one_job_with_all_there_is_to_say(
        self, gridloom: CommandLine, platform: ScriptedPlatform
    ):
        failed = job("FAILED", exit_code=3, failure_class=job_pb2.FAILURE_CLASS_APPLICATION_ERROR)
        failed.outputs.add(path="plot.png").object.size_bytes = 2048
        platform.script("GetJob", pb.GetJobResponse(job=failed))
        out = gridloom("jobs", "show", JOB).out
        rows = dict(line.split(None, 1) for line in out.splitlines())
        assert rows["job"].strip() == JOB
        assert rows["state"].strip() == "FAILED"
        assert rows["command"].strip() == "./solver"
        assert rows["output"].strip() == "plot.png (2 KiB)"

    def test_of_one_that_waits_why(self, gridloom: CommandLine, platform: ScriptedPlatform):
        platform.script("GetJob", pb.GetJobResponse(job=job("QUEUED")))
        told = pb.ExplainJobResponse(
            reason=pb.PENDING_REASON_RESOURCES,
            message="not enough is free",
            resource="cpu",
            asked=4000,
            available=500,
            ahead=[OTHER],
            ahead_count=3,
        )
        platform.script("ExplainJob", told)
        out = gridloom("jobs", "show", JOB).out
        assert "not enough is free\n  asks for 4 cpus, 0.5 cpus available\n  3 ahead: " in out
        document = gridloom("jobs", "show", JOB, "--explain", "--json").document
        assert (document["reason"], document["ahead"]) == ("RESOURCES", [OTHER])

    def test_its_history(self, gridloom: CommandLine, platform: ScriptedPlatform):
        event = job_pb2.JobEvent(revision=4, job_id=JOB, reason="submitted", to_state=2)
        event.at.FromSeconds(1_000_000)
        platform.script("GetJob", pb.GetJobResponse(job=job()))
        platform.script("ListJobEvents", pb.ListJobEventsResponse(events=[event]))
        assert "submitted" in gridloom("jobs", "show", JOB, "--events").out

    def test_what_does_not_exist_is_exit_code_1(
        self, gridloom: CommandLine, platform: ScriptedPlatform
    ):
        gone = Abort(grpc.StatusCode.NOT_FOUND, f"{JOB} does not exist", "NOT_FOUND")
        platform.script("GetJob", gone)
        ended = gridloom("jobs", "show", JOB)
        assert (ended.code, ended.err) == (1, f"gridloom: {JOB} does not exist\n")
        assert gridloom("jobs", "show", "job_1").code == 2


class TestLogs:
    def test_bytes_go_where_they_were_written_to(
        self, gridloom: CommandLine, platform: ScriptedPlatform
    ):
        out = pb.ReadLogsResponse(role="main", stream=pb.LOG_STREAM_STDOUT, data=b"a\xc3\xa4\nrest")
        err = pb.ReadLogsResponse(role="main", stream=pb.LOG_STREAM_STDERR, data=b"oops\n")
        platform.script("GetJob", pb.GetJobResponse(job=job()))
        platform.script("ReadLogs", [out, err])
        ended = gridloom("jobs", "logs", "-f", "-n", "5", JOB)
        assert (ended.out, ended.err) == ("aä\nrest", "oops\n")
        asked = platform.requests["ReadLogs"][0]
        assert (asked.follow, asked.tail_lines) == (True, 5)

    def test_lines_of_several_say_whose_they_are(
        self, gridloom: CommandLine, platform: ScriptedPlatform
    ):
        one = pb.ReadLogsResponse(role="main", data=b"a\n", element=7)
        platform.script("GetJob", pb.GetJobResponse(job=array({"RUNNING": 9})))
        platform.script("ReadLogs", [one])
        assert gridloom("jobs", "logs", JOB).out == "[7] a\n"
        gang = job()
        gang.spec.roles[0].replicas = 2
        platform.script("GetJob", pb.GetJobResponse(job=gang))
        two = pb.ReadLogsResponse(role="main", index=1, data=b"b\n")
        platform.script("ReadLogs", [two])
        assert gridloom("jobs", "logs", JOB).out == "main.1 | b\n"


class TestChanges:
    def test_cancel_by_name_or_by_choice(self, gridloom: CommandLine, listed: ScriptedPlatform):
        listed.script("CancelJobs", pb.CancelJobsResponse(jobs=[job("CANCELLED")]))
        assert gridloom("jobs", "cancel", JOB, "--grace", "30s").out == f"{JOB} is CANCELLED\n"
        assert listed.requests["CancelJobs"][0].grace.seconds == 30
        gridloom("jobs", "cancel", "--labels", "study=a")
        assert list(listed.requests["CancelJobs"][1].job_ids) == [JOB, OTHER]
        assert len(listed.requests["ListJobs"][0].filter.states) == 4

    def test_saying_nothing_never_means_everything(self, gridloom: CommandLine):
        ended = gridloom("jobs", "cancel")
        assert ended.code == 2
        assert "name jobs" in ended.err

    @pytest.mark.parametrize(
        ("verb", "method", "answer", "said"),
        [
            ("hold", "HoldJobs", pb.HoldJobsResponse, "held"),
            ("release", "ReleaseJobs", pb.ReleaseJobsResponse, "released"),
        ],
    )
    def test_hold_and_release(
        self,
        gridloom: CommandLine,
        platform: ScriptedPlatform,
        verb: str,
        method: str,
        answer: Any,
        said: str,
    ):
        platform.script(method, answer(jobs=[job("HELD")]))
        assert gridloom("jobs", verb, JOB, OTHER).out == f"{JOB} {said}\n"
        assert list(platform.requests[method][0].job_ids) == [JOB, OTHER]

    def test_retry_names_the_new_job(self, gridloom: CommandLine, platform: ScriptedPlatform):
        platform.script("GetJob", pb.GetJobResponse(job=job("FAILED")))
        platform.script("RetryJob", pb.RetryJobResponse(job=job("QUEUED", OTHER, retry_of=JOB)))
        assert gridloom("jobs", "retry", JOB, "-q").out == f"{OTHER}\n"

    def test_watch_ends_with_the_jobs_that_were_named(
        self, gridloom: CommandLine, platform: ScriptedPlatform
    ):
        changes = [
            pb.WatchJobsResponse(revision=1, job=job(), snapshot=True),
            pb.WatchJobsResponse(revision=2, job=job("SUCCEEDED")),
            None,
        ]
        platform.script("WatchJobs", list(changes))
        told = [
            json.loads(line) for line in gridloom("jobs", "watch", JOB, "--json").out.splitlines()
        ]
        assert [(each["revision"], each["job"]["state"]) for each in told] == [
            (1, "RUNNING"),
            (2, "SUCCEEDED"),
        ]
        platform.script("WatchJobs", list(changes))
        assert "SUCCEEDED" in gridloom("jobs", "watch", JOB).out.splitlines()[1]

    def test_exec_ends_as_the_command_ends(self, gridloom: CommandLine, platform: ScriptedPlatform):
        parts: list[Any] = [{"stdout": b"out"}, {"stderr": b"err"}, {"exit_code": 9}]
        platform.script("ExecJob", [pb.ExecJobResponse(**part) for part in parts])
        ended = gridloom.as_process("jobs", "exec", JOB, "--", "ls", "-l", stdin=b"typed")
        assert (ended.code, ended.out, ended.err) == (9, "out", "err")
        start, typed, closed = platform.requests["ExecJob"][0]
        assert list(start.start.command) == ["ls", "-l"]
        assert (typed.stdin, closed.stdin_closed) == (b"typed", True)


class TestLogsOfAPart:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--role", "mian"], 'role cannot be "mian"; did you mean "main"?'),
            (["--index", "7"], "index cannot be 7"),
        ],
    )
    def test_one_that_the_job_does_not_have_is_wrong_usage(
        self, gridloom: CommandLine, platform: ScriptedPlatform, words: list[str], said: str
    ):
        platform.script("GetJob", pb.GetJobResponse(job=job()))
        ended = gridloom("jobs", "logs", JOB, *words)
        assert (ended.code, said in ended.err) == (2, True)

    def test_programs_get_an_object_a_line(self, gridloom: CommandLine, platform: ScriptedPlatform):
        platform.script("GetJob", pb.GetJobResponse(job=job()))
        piece = pb.ReadLogsResponse(role="main", stream=pb.LOG_STREAM_STDERR, data=b"a\nb\n")
        platform.script("ReadLogs", [piece])
        lines = [
            json.loads(line)
            for line in gridloom("jobs", "logs", JOB, "--json").out.split("\n")[:-1]
        ]
        assert [(line["text"], line["stream"]) for line in lines] == [
            ("a", "stderr"),
            ("b", "stderr"),
        ]


def test_a_reader_that_is_gone_is_no_failure(gridloom: CommandLine, platform: ScriptedPlatform):
    platform.script("ListJobs", pb.ListJobsResponse(jobs=[job()]))
    for words in (["jobs", "list"], ["jobs", "list", "--json"], ["jobs", "list", "-q"]):
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "wb") as closed:
            command = [sys.executable, "-m", "gridloom.cli", "--address", platform.address, *words]
            done = subprocess.run(
                command, stdout=closed, stderr=subprocess.PIPE, timeout=60, check=False
            )
        assert (done.returncode, done.stderr) == (0, b"")
