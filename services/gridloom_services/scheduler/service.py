"""The gRPC face: a message in, one call of the domain, a message out."""

# gRPC names its methods; their second argument is gRPC's, and nothing here needs it.
# ruff: noqa: ARG002, N802

from __future__ import annotations

import asyncio
from functools import cache
from typing import TYPE_CHECKING, Any

from gridloom.api.scheduler.v1 import scheduler_pb2 as pb
from gridloom.api.scheduler.v1 import scheduler_pb2_grpc

from gridloom_services.common.auth import (
    current_principal,
    project_to_look_at,
    require_project,
)
from gridloom_services.scheduler.access.reach import check_job, narrowed
from gridloom_services.scheduler.exec import exec_messages
from gridloom_services.scheduler.intake import Submission
from gridloom_services.scheduler.messages import (
    add_jobs,
    event_message,
    explain_message,
    job_message,
    node_message,
    project_message,
    queue_message,
)
from gridloom_services.scheduler.paging import page_size, read_token, write_token
from gridloom_services.scheduler.requests import (
    SpecReader,
    grace_of,
    log_query_of,
    project_changes_of,
    query_of,
    queue_changes_of,
    queue_of,
)
from gridloom_services.scheduler.streams import (
    JobWatcher,
    demand_messages,
    log_messages,
    until,
)
from gridloom_services.scheduler.validation import check_between
from gridloom_services.scheduler.views import JobView

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from gridloom_services.scheduler.commands import Target
    from gridloom_services.scheduler.control import Control
    from gridloom_services.scheduler.job import Job
    from gridloom_services.scheduler.logs import LogReader
    from gridloom_services.scheduler.runtime.base import Runtime

MAX_TARGETS = 10_000


class SchedulerServicer(scheduler_pb2_grpc.SchedulerServiceServicer):
    """Answers `SchedulerService`."""

    def __init__(self, control: Control, runtime: Runtime, logs: LogReader) -> None:
        self._control = control
        self._runtime = runtime
        self._logs = logs
        # Set when open streams should end.
        self.draining = asyncio.Event()

    async def _targets(self, method: str, ids: Sequence[str]) -> list[Target]:
        """Return what ids mean, if the caller may do this to all of it."""
        check_between("job_ids", len(ids), 1, MAX_TARGETS)
        targets = await self._control.targets(ids)
        for target in targets:
            check_job(method, target.job)
        return targets

    async def _messages(self, targets: Sequence[Target]) -> list[Any]:
        return [job_message(view) for view in await self._control.views.of(targets)]

    # ---- jobs

    async def SubmitJobs(
        self, request: pb.SubmitJobsRequest, context: Any
    ) -> pb.SubmitJobsResponse:
        """Accept jobs, all or none."""
        alone = len(request.jobs) == 1
        read, project_of = SpecReader().read, cache(require_project)
        specs = tuple(
            read(each, project_of(each.project), "" if alone else f"jobs[{index}].")
            for index, each in enumerate(request.jobs)
        )
        submission = Submission(specs, current_principal().name, request.validate_only)
        jobs = await self._control.submit(submission)
        answer = pb.SubmitJobsResponse(warnings=self._control.core.fitness.warnings(specs))
        add_jobs(answer.jobs, jobs)
        return answer

    async def GetJob(self, request: pb.GetJobRequest, context: Any) -> pb.GetJobResponse:
        """Show a job or an element."""
        targets = await self._targets("GetJob", [request.job_id])
        return pb.GetJobResponse(job=(await self._messages(targets))[0])

    async def ListJobs(self, request: pb.ListJobsRequest, context: Any) -> pb.ListJobsResponse:
        """Show jobs by pages, newest first."""
        size = page_size(request.page_size)
        question = request.filter.SerializeToString(deterministic=True)
        place = read_token(request.page_token, question, 1)
        query = narrowed(query_of(request.filter))
        jobs = await self._control.page(query, place[0] if place else None, size + 1)
        answer = pb.ListJobsResponse(
            jobs=[job_message(view) for view in await self._control.views.listed(jobs[:size])]
        )
        if len(jobs) > size:
            answer.next_page_token = write_token(question, jobs[size - 1].sequence)
        return answer

    async def CancelJobs(
        self, request: pb.CancelJobsRequest, context: Any
    ) -> pb.CancelJobsResponse:
        """Cancel jobs and elements."""
        grace_s = grace_of(request)
        await self._targets("CancelJobs", request.job_ids)
        reason = request.reason or f"cancelled by {current_principal().name}"
        targets = await self._control.cancel(request.job_ids, reason, grace_s)
        return pb.CancelJobsResponse(jobs=await self._messages(targets))

    async def HoldJobs(self, request: pb.HoldJobsRequest, context: Any) -> pb.HoldJobsResponse:
        """Keep what waits from starting."""
        await self._targets("HoldJobs", request.job_ids)
        targets = await self._control.hold(request.job_ids)
        return pb.HoldJobsResponse(jobs=await self._messages(targets))

    async def ReleaseJobs(
        self, request: pb.ReleaseJobsRequest, context: Any
    ) -> pb.ReleaseJobsResponse:
        """Let what is held wait for its start again."""
        await self._targets("ReleaseJobs", request.job_ids)
        targets = await self._control.release(request.job_ids)
        return pb.ReleaseJobsResponse(jobs=await self._messages(targets))

    async def RetryJob(self, request: pb.RetryJobRequest, context: Any) -> pb.RetryJobResponse:
        """Make a new job of one that is over."""
        await self._targets("RetryJob", [request.job_id])
        owner = current_principal().name
        job = await self._control.retry(request.job_id, owner, request.request_id)
        return pb.RetryJobResponse(job=job_message(JobView(job)))

    async def ResizeJob(self, request: pb.ResizeJobRequest, context: Any) -> pb.ResizeJobResponse:
        """Change the size of an elastic role."""
        await self._targets("ResizeJob", [request.job_id])
        target = await self._control.resize(
            request.job_id, request.role, request.replicas, tuple(request.surplus)
        )
        return pb.ResizeJobResponse(job=(await self._messages([target]))[0])

    async def ExplainJob(
        self, request: pb.ExplainJobRequest, context: Any
    ) -> pb.ExplainJobResponse:
        """Say why a job waits."""
        (target,) = await self._targets("ExplainJob", [request.job_id])
        return explain_message(self._control.explain(target))

    async def ListJobEvents(
        self, request: pb.ListJobEventsRequest, context: Any
    ) -> pb.ListJobEventsResponse:
        """Show a job's history by pages, oldest first."""
        (target,) = await self._targets("ListJobEvents", [request.job_id])
        question = request.job_id.encode()
        place = read_token(request.page_token, question, 2)
        page = await self._control.history(
            target, (place[0], place[1]) if place else None, page_size(request.page_size)
        )
        return pb.ListJobEventsResponse(
            events=[
                event_message(event, _number(target.job, event.element)) for event in page.events
            ],
            next_page_token=write_token(question, *page.next) if page.next else "",
        )

    # ---- streams

    async def WatchJobs(
        self, request: pb.WatchJobsRequest, context: Any
    ) -> AsyncIterator[pb.WatchJobsResponse]:
        """Tell of changes as they are committed."""
        watcher = JobWatcher(self._control, narrowed(query_of(request.filter)))
        async for message in until(self.draining, watcher.watch(request.from_revision)):
            yield message

    async def ReadLogs(
        self, request: pb.ReadLogsRequest, context: Any
    ) -> AsyncIterator[pb.ReadLogsResponse]:
        """Send logs, and what is written while they are followed."""
        query = log_query_of(request)
        (target,) = await self._targets("ReadLogs", [request.job_id])
        parts = log_messages(self._logs, target, query)
        async for message in until(self.draining, parts):
            yield message

    async def ExecJob(
        self, request_iterator: AsyncIterator[pb.ExecJobRequest], context: Any
    ) -> AsyncIterator[pb.ExecJobResponse]:
        """Run a command beside a replica."""
        chunks = exec_messages(self._control, self._runtime, request_iterator)
        async for message in until(self.draining, chunks):
            yield message

    async def WatchDemand(
        self, request: pb.WatchDemandRequest, context: Any
    ) -> AsyncIterator[pb.WatchDemandResponse]:
        """Tell what is free and whether others wait."""
        demand = demand_messages(self._control, frozenset(request.except_job_ids))
        async for message in until(self.draining, demand):
            yield message

    # ---- nodes and queues

    async def ListNodes(self, request: pb.ListNodesRequest, context: Any) -> pb.ListNodesResponse:
        """Show the nodes."""
        capacity = {node.name: node for node in await self._runtime.capacity()}
        nodes = self._control.core.engine.nodes()
        return pb.ListNodesResponse(
            nodes=[node_message(node, capacity.get(node.name)) for node in nodes]
        )

    async def CreateQueue(
        self, request: pb.CreateQueueRequest, context: Any
    ) -> pb.CreateQueueResponse:
        """Make a queue."""
        queue = queue_of(request.queue, require_project(request.queue.project))
        await self._control.change_queues(lambda queues: queues.create(queue))
        return pb.CreateQueueResponse(queue=self._queue(queue.project, queue.name))

    async def UpdateQueue(
        self, request: pb.UpdateQueueRequest, context: Any
    ) -> pb.UpdateQueueResponse:
        """Change fields of a queue."""
        project, name = require_project(request.queue.project), request.queue.name
        changes = queue_changes_of(request)
        await self._control.change_queues(lambda queues: queues.update(project, name, changes))
        return pb.UpdateQueueResponse(queue=self._queue(project, name))

    async def DeleteQueue(
        self, request: pb.DeleteQueueRequest, context: Any
    ) -> pb.DeleteQueueResponse:
        """Take an empty queue away."""
        project = require_project(request.project)
        await self._control.change_queues(lambda queues: queues.delete(project, request.name))
        return pb.DeleteQueueResponse()

    async def ListQueues(
        self, request: pb.ListQueuesRequest, context: Any
    ) -> pb.ListQueuesResponse:
        """Show queues and their use."""
        views = self._control.core.queues.views(project_to_look_at(request.project))
        return pb.ListQueuesResponse(queues=[queue_message(view) for view in views])

    async def CreateProject(
        self, request: pb.CreateProjectRequest, context: Any
    ) -> pb.CreateProjectResponse:
        """Make a project and its first queue."""
        del context
        name, changes = request.project.name, project_changes_of(request.project)
        await self._control.change_projects(lambda projects: projects.create(name, changes))
        return pb.CreateProjectResponse(project=self._project(name))

    async def UpdateProject(
        self, request: pb.UpdateProjectRequest, context: Any
    ) -> pb.UpdateProjectResponse:
        """Change fields of a project."""
        del context
        name = request.project.name
        changes = project_changes_of(request.project, request.fields)
        await self._control.change_projects(lambda projects: projects.update(name, changes))
        return pb.UpdateProjectResponse(project=self._project(name))

    async def DeleteProject(
        self, request: pb.DeleteProjectRequest, context: Any
    ) -> pb.DeleteProjectResponse:
        """Take a project away in which nothing is."""
        del context
        await self._control.change_projects(lambda projects: projects.delete(request.project))
        return pb.DeleteProjectResponse()

    async def ListProjects(
        self, request: pb.ListProjectsRequest, context: Any
    ) -> pb.ListProjectsResponse:
        """Show projects and their use."""
        del context
        views = self._control.core.projects.views(project_to_look_at(request.project))
        return pb.ListProjectsResponse(projects=[project_message(view) for view in views])

    def _project(self, name: str) -> pb.Project:
        (view,) = self._control.core.projects.views(name)
        return project_message(view)

    def _queue(self, project: str, name: str) -> pb.Queue:
        views = self._control.core.queues.views(project)
        return queue_message(next(view for view in views if view.queue.name == name))


def _number(job: Job, element: int | None) -> int | None:
    return None if element is None or job.spec.array is None else job.spec.array.number(element)
