"""Long lists, a page at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.api.scheduler.v1 import scheduler_pb2 as pb
from gridloom.jobs.filters import JobFilter, filter_message
from gridloom.jobs.info import JobEvent, JobInfo, read_event, read_job
from gridloom.operation import Call

if TYPE_CHECKING:
    from gridloom.operation import Operation

PAGE = 200


def jobs_page(chosen: JobFilter, token: str, size: int) -> Operation[tuple[list[JobInfo], str]]:
    """Jobs, newest first, and the token of the next page: empty on the last."""
    request = pb.ListJobsRequest(filter=filter_message(chosen), page_size=size, page_token=token)
    answer: pb.ListJobsResponse = yield Call("scheduler", "ListJobs", request)
    return [read_job(job) for job in answer.jobs], answer.next_page_token


def events_page(job_id: str, token: str, size: int) -> Operation[tuple[list[JobEvent], str]]:
    """Events of one job, oldest first, and the token of the next page: empty on the last."""
    request = pb.ListJobEventsRequest(job_id=job_id, page_size=size, page_token=token)
    answer: pb.ListJobEventsResponse = yield Call("scheduler", "ListJobEvents", request)
    return [read_event(event) for event in answer.events], answer.next_page_token
