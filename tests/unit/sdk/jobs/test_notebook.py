from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from gridloom.api.scheduler.v1 import scheduler_pb2 as pb
from gridloom.jobs.info import read_job
from gridloom.jobs.notebook import show_live

from tests.unit.sdk.jobs.examples import JOB, job

if TYPE_CHECKING:
    from gridloom.client import Client

    from tests.support.scripted import ScriptedPlatform


class Display:
    """IPython's `display` and the handle that it answers with."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def __call__(self, bundle: dict[str, str], **how: Any) -> Display:
        assert how == {"raw": True, "display_id": True}
        self.shown.append(bundle["text/plain"])
        return self

    def update(self, bundle: dict[str, str], **how: Any) -> None:
        assert how == {"raw": True}
        assert bundle["text/html"].startswith("<table>")
        self.shown.append(bundle["text/plain"])


def test_the_table_follows_the_job_until_it_is_over(platform: ScriptedPlatform, client: Client):
    changes = [
        pb.WatchJobsResponse(revision=1, job=job(), snapshot=True),
        pb.WatchJobsResponse(revision=2, job=job("SUCCEEDED")),
        None,
    ]
    platform.script("WatchJobs", changes)
    display = Display()
    thread = show_live(client, JOB, read_job(job("QUEUED")), display)
    assert thread is not None
    thread.join(10)
    words = [text.split()[2].rstrip(",") for text in display.shown]
    assert words == ["QUEUED", "RUNNING", "SUCCEEDED"]


def test_a_job_that_is_over_is_shown_once(client: Client):
    display = Display()
    assert show_live(client, JOB, read_job(job("FAILED")), display) is None
    assert len(display.shown) == 1


def test_outside_of_a_notebook_a_handle_shows_itself_as_text(
    platform: ScriptedPlatform, client: Client
):
    platform.script("GetJob", pb.GetJobResponse(job=job()))
    with pytest.raises(NotImplementedError):
        client.job(JOB)._ipython_display_()
