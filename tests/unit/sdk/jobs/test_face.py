"""The client's side for jobs, against a platform that says what a test tells it to say."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from gridloom import errors
from gridloom.api.objects.v1 import objects_pb2
from gridloom.api.scheduler.v1 import job_pb2
from gridloom.api.scheduler.v1 import scheduler_pb2 as pb
from gridloom.jobs.states import JobState
from gridloom.objects import digest_of

from tests.support.scripted import Abort
from tests.unit.sdk.jobs.examples import JOB, OTHER, array, job

if TYPE_CHECKING:
    from pathlib import Path

    from gridloom.client import Client

    from tests.support.scripted import ScriptedPlatform


def accepted(request: pb.SubmitJobsRequest) -> pb.SubmitJobsResponse:
    ids = (JOB, OTHER)
    jobs = [job_pb2.Job(id=i, spec=s, state=2) for i, s in zip(ids, request.jobs, strict=False)]
    return pb.SubmitJobsResponse(jobs=jobs)


def got(message: job_pb2.Job) -> pb.GetJobResponse:
    return pb.GetJobResponse(job=message)


def said(message: job_pb2.Job, revision: int = 1) -> pb.WatchJobsResponse:
    return pb.WatchJobsResponse(revision=revision, job=message)


def lines(*texts: str) -> list[pb.ReadLogsResponse]:
    data = "".join(f"{text}\n" for text in texts).encode()
    return [pb.ReadLogsResponse(role="main", stream=pb.LOG_STREAM_STDOUT, data=data, attempt=1)]


class TestSubmission:
    def test_run_answers_with_a_handle(self, platform: ScriptedPlatform, client: Client):
        platform.script("SubmitJobs", accepted)
        handle = client.run(["true"], cpus=2)
        assert handle.id == JOB
        assert handle.name == "true"
        asked = platform.requests["SubmitJobs"][0].jobs[0]
        assert asked.roles[0].resources["cpu"] == 2000

    def test_a_lost_answer_is_asked_for_again_under_the_same_request_id(
        self, platform: ScriptedPlatform, client: Client
    ):
        platform.script("SubmitJobs", Abort(grpc.StatusCode.UNAVAILABLE), accepted)
        client.run(["true"])
        first, second = platform.requests["SubmitJobs"]
        assert first == second
        assert first.jobs[0].request_id

    def test_many_jobs_are_one_request(self, platform: ScriptedPlatform, client: Client):
        platform.script("SubmitJobs", accepted)
        handles = client.run_many([{"command": ["a"]}, {"command": ["b"], "cpus": 2}])
        assert [handle.id for handle in handles] == [JOB, OTHER]
        assert len(platform.requests["SubmitJobs"]) == 1
        assert client.run_many([]) == []

    def test_files_are_sent_before_the_job(
        self, platform: ScriptedPlatform, client: Client, tmp_path: Path
    ):
        (tmp_path / "input.dat").write_bytes(b"1234")
        stat = objects_pb2.ObjectStat(exists=False)
        platform.script("StatObjects", objects_pb2.StatObjectsResponse(objects=[stat]))
        platform.script("PutObject", objects_pb2.PutObjectResponse())
        platform.script("SubmitJobs", accepted)
        client.run(["cat", "input.dat"], files={"input.dat": tmp_path / "input.dat"})
        header, chunk = platform.requests["PutObject"][0]
        assert chunk.chunk == b"1234"
        sent = platform.requests["SubmitJobs"][0].jobs[0].roles[0].files[0]
        assert (sent.path, sent.object) == ("input.dat", header.header.object)

    def test_many_files_keep_their_names(self, platform: ScriptedPlatform, client: Client):
        stat = objects_pb2.ObjectStat(exists=True)
        platform.script("StatObjects", objects_pb2.StatObjectsResponse(objects=[stat]))
        platform.script("SubmitJobs", accepted)
        contents = {f"f{n}": str(n).encode() for n in range(50)}
        client.run_many([{"command": ["a"], "files": contents}, {"command": ["b"]}])
        first, second = platform.requests["SubmitJobs"][0].jobs
        sent = {file.path: file.object.digest for file in first.roles[0].files}
        assert sent == {name: digest_of(content) for name, content in contents.items()}
        assert not second.roles[0].files

    def test_a_check_sends_nothing(self, platform: ScriptedPlatform, client: Client):
        platform.script("SubmitJobs", pb.SubmitJobsResponse(jobs=[job("QUEUED", "")]))
        handle = client.run(["true"], files={"x": b"1"}, validate_only=True)
        assert handle.id == ""
        assert platform.requests["SubmitJobs"][0].validate_only
        assert not platform.requests["PutObject"]

    def test_a_wrong_word_never_reaches_the_platform(
        self, platform: ScriptedPlatform, client: Client
    ):
        with pytest.raises(errors.InvalidRequestError, match='did you mean "cpus"'):
            client.run(["true"], cpu=2)  # type: ignore[call-arg]
        assert not platform.requests


class TestTheEnd:
    def test_a_result_is_waited_for(self, platform: ScriptedPlatform, client: Client):
        platform.script("GetJob", got(job()), got(job()), got(job("SUCCEEDED")))
        platform.script("WatchJobs", [said(job()), said(job("SUCCEEDED")), None])
        handle = client.job(JOB)
        assert handle.result().exit_code == 0
        assert handle.info.state is JobState.SUCCEEDED
        assert list(platform.requests["WatchJobs"][0].filter.job_ids) == [JOB]

    def test_what_is_over_is_not_watched(self, platform: ScriptedPlatform, client: Client):
        platform.script("GetJob", got(job("SUCCEEDED")))
        assert client.job(JOB).wait() is JobState.SUCCEEDED
        assert not platform.requests["WatchJobs"]

    def test_a_failure_is_raised_with_the_last_lines(
        self, platform: ScriptedPlatform, client: Client
    ):
        failed = job("FAILED", exit_code=3, failure_class=job_pb2.FAILURE_CLASS_APPLICATION_ERROR)
        platform.script("GetJob", got(failed))
        platform.script("ReadLogs", lines("step 1", "no input"))
        with pytest.raises(errors.JobFailedError) as failure:
            client.job(JOB).result()
        assert failure.value.exit_code == 3
        assert failure.value.log_tail == "step 1\nno input"
        assert platform.requests["ReadLogs"][0].tail_lines == 20

    def test_a_failure_is_told_also_when_its_log_is_gone(
        self, platform: ScriptedPlatform, client: Client
    ):
        platform.script("GetJob", got(job("FAILED", exit_code=3)))
        platform.script("ReadLogs", Abort(grpc.StatusCode.NOT_FOUND, reason="NOT_FOUND"))
        with pytest.raises(errors.JobFailedError, match="exit code 3"):
            client.job(JOB).result()

    def test_an_arrays_failure_shows_its_first_bad_element(
        self, platform: ScriptedPlatform, client: Client
    ):
        whole, bad = array({"SUCCEEDED": 1, "FAILED": 1}, "FAILED"), job("FAILED", exit_code=9)
        bad.id = f"{JOB}.1"
        answers = {JOB: got(whole), f"{JOB}.1": got(bad)}
        platform.script("GetJob", lambda request: answers[request.job_id])
        platform.script("ReadLogs", lines("bad seed"))
        with pytest.raises(errors.JobFailedError, match="element 1: exit code 9") as failure:
            client.job(JOB).result()
        assert failure.value.log_tail == "bad seed"
        assert platform.requests["ReadLogs"][0].job_id == f"{JOB}.1"

    def test_a_wait_that_is_too_short_is_pythons_own_time_out(
        self, platform: ScriptedPlatform, client: Client
    ):
        platform.script("GetJob", got(job()))
        platform.script("WatchJobs", [said(job()), None])
        with pytest.raises(TimeoutError):
            client.job(JOB).wait(timeout="200ms")

    def test_several_jobs_are_waited_for_on_one_stream(
        self, platform: ScriptedPlatform, client: Client
    ):
        platform.script("GetJob", lambda request: got(job("RUNNING", request.job_id)))
        platform.script("WatchJobs", [said(job("FAILED")), said(job("SUCCEEDED", OTHER)), None])
        begun = [job("RUNNING", OTHER), job("RUNNING")]
        ends = [job("SUCCEEDED", OTHER), job("FAILED")]
        pages = [pb.ListJobsResponse(jobs=page) for page in (begun, ends)]
        platform.script("ListJobs", *pages)
        handle = client.job(JOB)
        ended = client.wait(each for each in (handle, OTHER))
        assert ended[0] is handle
        assert [each.info.state.value for each in ended] == ["FAILED", "SUCCEEDED"]
        assert len(platform.requests["WatchJobs"]) == 1

    def test_a_cancel_carries_its_grace(self, platform: ScriptedPlatform, client: Client):
        platform.script("GetJob", got(job()))
        platform.script("CancelJobs", pb.CancelJobsResponse(jobs=[job("CANCELLED")]))
        assert client.job(JOB).cancel(grace="30s", reason="enough").state is JobState.CANCELLED
        asked = platform.requests["CancelJobs"][0]
        assert (asked.grace.seconds, asked.reason) == (30, "enough")

    def test_many_jobs_are_changed_a_thousand_at_a_time_and_none_without_asking(
        self, platform: ScriptedPlatform, client: Client
    ):
        platform.script("HoldJobs", pb.HoldJobsResponse(jobs=[job("HELD")]))
        assert client.hold([]) == []
        assert client.wait([]) == []
        assert len(client.hold([JOB] * 2500)) == 3
        assert [len(asked.job_ids) for asked in platform.requests["HoldJobs"]] == [1000, 1000, 500]

    def test_a_retry_is_a_new_job(self, platform: ScriptedPlatform, client: Client):
        platform.script("GetJob", got(job("FAILED")))
        platform.script("RetryJob", pb.RetryJobResponse(job=job("QUEUED", OTHER, retry_of=JOB)))
        again = client.job(JOB).retry()
        assert (again.id, again.info.retry_of) == (OTHER, JOB)


class TestReading:
    def test_logs_are_lines(self, platform: ScriptedPlatform, client: Client):
        platform.script("GetJob", got(job()))
        platform.script("ReadLogs", lines("a", "b"))
        assert list(client.job(JOB).logs(follow=True, tail=5)) == ["a", "b"]
        assert platform.requests["ReadLogs"][0].follow

    def test_outputs_are_found_by_name_and_saved(
        self, platform: ScriptedPlatform, client: Client, tmp_path: Path
    ):
        done = job("SUCCEEDED")
        done.outputs.add(role="main", path="out/plot.png", mode=0o600).object.digest = "sha256:1"
        ref = objects_pb2.ObjectRef(digest="sha256:1", size_bytes=3)
        chunks = [objects_pb2.GetObjectResponse(object=ref, chunk=b"PNG")]
        platform.script("GetJob", got(done))
        platform.script("GetObject", chunks)
        outputs = client.job(JOB).outputs
        assert list(outputs) == ["out/plot.png"]
        saved = outputs["plot.png"].save(tmp_path)
        assert saved == tmp_path / "plot.png"
        assert saved.read_bytes() == b"PNG"
        assert saved.stat().st_mode & 0o777 == 0o600
        assert outputs.save(tmp_path / "all") == [tmp_path / "all" / "out" / "plot.png"]
        with pytest.raises(errors.OutputNotFoundError, match=r"it has: out/plot\.png"):
            outputs["other"]

    def test_outputs_of_a_running_job_are_not_there_yet(
        self, platform: ScriptedPlatform, client: Client
    ):
        platform.script("GetJob", got(job()))
        with pytest.raises(KeyError, match="is RUNNING: its outputs come when it is over"):
            client.job(JOB).outputs["x"]

    def test_jobs_are_listed_a_page_at_a_time(self, platform: ScriptedPlatform, client: Client):
        pages = {
            "": pb.ListJobsResponse(jobs=[job()], next_page_token="2"),
            "2": pb.ListJobsResponse(jobs=[job("FAILED", OTHER)]),
        }
        platform.script("ListJobs", lambda request: pages[request.page_token])
        found = client.jobs(state="running", labels={"study": "a"})
        assert next(found).id == JOB
        assert len(platform.requests["ListJobs"]) == 1
        assert [each.id for each in found] == [OTHER]
        assert [each.id for each in client.jobs(limit=1)] == [JOB]

    def test_the_history_is_read(self, platform: ScriptedPlatform, client: Client):
        event = job_pb2.JobEvent(revision=1, job_id=JOB, to_state=job_pb2.JOB_STATE_QUEUED)
        platform.script("GetJob", got(job()))
        platform.script("ListJobEvents", pb.ListJobEventsResponse(events=[event]))
        assert [e.to_state for e in client.job(JOB).events()] == [JobState.QUEUED]

    def test_an_explanation_says_why(self, platform: ScriptedPlatform, client: Client):
        told = pb.ExplainJobResponse(reason=pb.PENDING_REASON_RESOURCES, message="4 CPUs are short")
        platform.script("GetJob", got(job("QUEUED")))
        platform.script("ExplainJob", told)
        assert str(client.job(JOB).explain()) == "4 CPUs are short"

    def test_a_command_beside_the_job_answers_with_its_output(
        self, platform: ScriptedPlatform, client: Client
    ):
        parts: list[Any] = [{"stdout": b"a"}, {"stderr": b"e"}, {"stdout": b"b"}, {"exit_code": 7}]
        platform.script("GetJob", got(job()))
        platform.script("ExecJob", [pb.ExecJobResponse(**part) for part in parts])
        done = client.job(JOB).exec(["ls"], stdin=b"in")
        assert (done.exit_code, done.stdout, done.stderr) == (7, b"ab", b"e")
        start, given, closed = platform.requests["ExecJob"][0]
        assert list(start.start.command) == ["ls"]
        assert (given.stdin, closed.stdin_closed) == (b"in", True)


class TestHandles:
    def test_a_handle_is_its_id(self, platform: ScriptedPlatform, client: Client):
        platform.script("GetJob", got(job()))
        assert client.job(JOB) == client.get(JOB)
        assert len({client.job(JOB), client.job(JOB)}) == 1

    def test_the_state_is_asked_for_until_it_is_final(
        self, platform: ScriptedPlatform, client: Client
    ):
        platform.script("GetJob", got(job("QUEUED")), got(job()), got(job("FAILED")))
        handle = client.job(JOB)
        states = [handle.state for _ in range(4)]
        assert states == ["RUNNING", "FAILED", "FAILED", "FAILED"]
        assert len(platform.requests["GetJob"]) == 3

    def test_a_handle_says_id_state_and_age(self, platform: ScriptedPlatform, client: Client):
        platform.script("GetJob", got(array({"SUCCEEDED": 3, "RUNNING": 1})))
        handle = client.job(JOB)
        assert repr(handle).startswith(f"<Job {JOB} RUNNING (3 SUCCEEDED, 1 RUNNING), ")
        assert "solver" in repr(handle)
        html = handle._repr_html_()
        assert html.startswith("<table>")
        assert "chem/cpu" in html

    def test_a_handle_can_be_shown_when_the_platform_is_gone(
        self, platform: ScriptedPlatform, client: Client
    ):
        platform.script("GetJob", got(job()))
        handle = client.job(JOB)
        platform.close()
        handle._looked = 0.0
        assert "RUNNING" in repr(handle)

    def test_html_of_strange_names_is_harmless(self, platform: ScriptedPlatform, client: Client):
        message = job()
        message.spec.name = "<script>"
        platform.script("GetJob", got(message))
        assert "&lt;script&gt;" in client.job(JOB)._repr_html_()

    def test_elements_have_handles(self, platform: ScriptedPlatform, client: Client):
        platform.script("GetJob", got(array({"RUNNING": 3}, step=5)))
        handle = client.job(JOB)
        assert [each.id for each in handle.elements()] == [f"{JOB}.{n}" for n in (0, 5, 10)]
        assert handle.element(5).id == f"{JOB}.5"

    def test_a_pickled_handle_names_the_platform_and_holds_no_token(
        self, platform: ScriptedPlatform, client: Client
    ):
        platform.script("GetJob", got(job()))
        pickled = pickle.dumps(client.job(JOB))
        assert b"the-token" not in pickled
        assert platform.address.encode() in pickled
        again = pickle.loads(pickled)
        assert again == client.job(JOB)
        again._client.close()

    def test_an_unknown_job_is_not_found(self, platform: ScriptedPlatform, client: Client):
        platform.script("GetJob", Abort(grpc.StatusCode.NOT_FOUND, "no job", reason="NOT_FOUND"))
        with pytest.raises(errors.NotFoundError, match="no job"):
            client.get(JOB)
        with pytest.raises(errors.InvalidRequestError, match="is not an id"):
            client.get("nonsense")


class TestQueues:
    def test_queues_are_made_changed_listed_and_removed(
        self, platform: ScriptedPlatform, client: Client
    ):
        queue = pb.Queue(name="fast", project="chem", quota={"cpu": 8000}, running_jobs=2)
        platform.script("CreateQueue", pb.CreateQueueResponse(queue=queue))
        platform.script("UpdateQueue", pb.UpdateQueueResponse(queue=queue))
        platform.script("ListQueues", pb.ListQueuesResponse(queues=[queue]))
        platform.script("DeleteQueue", pb.DeleteQueueResponse())
        made = client.create_queue("fast", project="chem", quota={"cpus": 8, "memory": "1GiB"})
        assert made.quota == {"cpu": 8000}
        assert dict(platform.requests["CreateQueue"][0].queue.quota) == {
            "cpu": 8000,
            "memory": 1024**3,
        }
        client.set_queue("fast", closed=True, max_time_limit="1h")
        change = platform.requests["UpdateQueue"][0]
        assert list(change.fields) == ["closed", "max_time_limit"]
        assert change.queue.max_time_limit.seconds == 3600
        assert [each.running_jobs for each in client.queues()] == [2]
        client.delete_queue("fast", project="chem")
        assert platform.requests["DeleteQueue"][0].project == "chem"

    def test_a_change_of_nothing_and_a_misspelt_word_are_refused(self, client: Client):
        with pytest.raises(errors.InvalidRequestError, match="nothing to set"):
            client.set_queue("fast")
        with pytest.raises(errors.InvalidRequestError, match='did you mean "quota"'):
            client.create_queue("fast", quotas={})  # type: ignore[call-arg]

    def test_nodes_say_what_is_free(self, platform: ScriptedPlatform, client: Client):
        node = pb.Node(name="n1", capacity={"cpu": 2000}, free={"cpu": 500}, schedulable=True)
        platform.script("ListNodes", pb.ListNodesResponse(nodes=[node]))
        assert client.nodes()[0].free == {"cpu": 500}


def test_a_misspelt_filter_is_told_before_anything_is_read(client: Client):
    with pytest.raises(errors.InvalidRequestError, match='did you mean "state"'):
        client.jobs(sate="running")  # type: ignore[call-arg]


def test_what_cannot_be_a_command_or_an_id_is_refused_by_name(client: Client):
    with pytest.raises(errors.InvalidRequestError, match="command cannot be 5; give a list"):
        client.run(5)  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidRequestError, match='"5" is not an id'):
        client.get(5)  # type: ignore[arg-type]


def test_logs_of_a_replica_that_there_is_not_are_refused(
    client: Client, platform: ScriptedPlatform
):
    platform.script("GetJob", got(job()))
    with pytest.raises(errors.InvalidRequestError, match="index cannot be 3"):
        client.job(JOB).logs(index=3)


def test_what_has_no_effect_is_a_warning_at_the_caller_s_line(
    platform: ScriptedPlatform, client: Client
):
    sentence = 'image "a:1" has no effect'
    answer = pb.SubmitJobsResponse(jobs=[job()], warnings=[sentence])
    platform.script("SubmitJobs", answer)
    with pytest.warns(errors.GridloomWarning, match=sentence) as caught:
        client.run(["true"], image="a:1")
    assert [each.filename for each in caught] == [__file__]
