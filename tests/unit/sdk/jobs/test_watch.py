from __future__ import annotations

from gridloom.api.scheduler.v1 import job_pb2, scheduler_pb2
from gridloom.jobs.watch import EndWatch, JobWatch

from tests.unit.sdk.jobs.examples import JOB, OTHER, array, job


def said(message: job_pb2.Job, revision: int = 0, **marks: bool) -> scheduler_pb2.WatchJobsResponse:
    return scheduler_pb2.WatchJobsResponse(revision=revision, job=message, **marks)


def test_a_watch_goes_on_after_the_last_change_it_saw():
    watch = JobWatch(scheduler_pb2.JobFilter(queue="cpu"))
    assert [c.snapshot for c in watch.feed(said(job(), 7, snapshot=True))] == [True]
    assert watch.call().request.from_revision == 0  # type: ignore[attr-defined]
    assert not list(watch.feed(scheduler_pb2.WatchJobsResponse(revision=9, synced=True)))
    assert [c.revision for c in watch.feed(said(job("FAILED"), 12))] == [12]
    request = watch.call().request
    assert request.from_revision == 12  # type: ignore[attr-defined]
    assert request.filter.queue == "cpu"  # type: ignore[attr-defined]
    assert not watch.over


def test_the_ends_of_jobs_are_given_once():
    watch = EndWatch([JOB, OTHER])
    assert not list(watch.feed(said(job("RUNNING"))))
    assert list(watch.feed(said(job("FAILED")))) == [JOB]
    assert not list(watch.feed(said(job("FAILED"))))
    assert list(watch.call().request.filter.job_ids) == [OTHER]  # type: ignore[attr-defined]
    assert not watch.over
    assert list(watch.feed(said(job("CANCELLED", OTHER)))) == [OTHER]
    assert watch.over


def test_elements_end_by_themselves_or_with_their_job():
    watch = EndWatch([f"{JOB}.1", f"{JOB}.2", JOB])
    assert list(watch.call().request.filter.job_ids) == [JOB]  # type: ignore[attr-defined]
    assert list(watch.feed(said(array({"SUCCEEDED": 2, "RUNNING": 1})))) == [f"{JOB}.1"]
    ended = watch.feed(said(array({"SUCCEEDED": 3}, "SUCCEEDED")))
    assert sorted(ended) == [JOB, f"{JOB}.2"]
    assert watch.over
