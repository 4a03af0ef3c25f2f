from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.jobs.info import read_job
from gridloom.jobs.states import JobState
from gridloom.jobs.waiting import WaitTally, work_of

from tests.unit.sdk.jobs.examples import JOB, OTHER, array, job

if TYPE_CHECKING:
    import pytest
    from gridloom.client import Client

    from tests.support.scripted import ScriptedPlatform


class Bar:
    def __init__(self) -> None:
        self.seen: list[tuple[int, int, int | None]] = []

    def update(self, done: int, failed: int, total: int | None) -> None:
        self.seen.append((done, failed, total))

    def close(self) -> None:
        self.seen.append((-1, -1, -1))


def test_jobs_and_elements_are_counted_together():
    bar = Bar()
    tally = WaitTally(bar, [JOB, OTHER])
    tally.see(read_job(array({"SUCCEEDED": 3, "FAILED": 1, "RUNNING": 6})))
    tally.see(read_job(job("CANCELLED", OTHER)))
    tally.see(read_job(array({"SUCCEEDED": 9, "FAILED": 1})))
    assert bar.seen == [(4, 1, 11), (5, 1, 11), (11, 1, 11)]


def test_a_look_at_one_of_very_many_jobs_costs_no_more_than_at_one_of_two():
    # Were all counted anew at each look, this would take hours.
    names = [f"{JOB}x{number}" for number in range(100_000)]
    bar = Bar()
    tally = WaitTally(bar, [*names, JOB])
    over = read_job(job("SUCCEEDED"))
    for _ in names:
        tally.see(over)
    assert set(bar.seen) == {(1, 0, 100_001)}


def test_one_job_is_called_by_its_id_and_several_are_counted():
    assert work_of([JOB]) == JOB
    assert work_of([JOB, OTHER]) == "the work of 2 jobs"


def test_a_bar_is_shown_where_it_is_asked_for_and_nowhere_else(
    platform: ScriptedPlatform, client: Client, capfd: pytest.CaptureFixture[str]
):
    from gridloom.api.scheduler.v1 import scheduler_pb2 as pb

    running = pb.GetJobResponse(job=array({"SUCCEEDED": 1, "RUNNING": 3}))
    over = pb.GetJobResponse(job=array({"SUCCEEDED": 4}, "SUCCEEDED"))
    change = pb.WatchJobsResponse(revision=1, job=over.job)
    platform.script("WatchJobs", [change, None])
    platform.script("GetJob", running, running, over)
    assert client.job(JOB).wait(progress=True) is JobState.SUCCEEDED
    assert "4/4" in capfd.readouterr().err
    platform.script("GetJob", running, running, over)
    client.job(JOB).wait()
    assert capfd.readouterr().err == ""
