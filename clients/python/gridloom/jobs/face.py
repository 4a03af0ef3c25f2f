"""The side of a client that runs commands, synchronous."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, Unpack

from gridloom.lazy import LazyModule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gridloom import units
    from gridloom.channel import Connection
    from gridloom.jobs import dependencies, filters, handle, listing, operations, waiting, watch
    from gridloom.jobs import projects as project_operations
    from gridloom.jobs import queues as queue_operations
    from gridloom.jobs.dependencies import Dependencies
    from gridloom.jobs.filters import JobFilter
    from gridloom.jobs.handle import Job
    from gridloom.jobs.info import JobChange, JobInfo, NodeInfo, ProjectInfo, QueueInfo
    from gridloom.jobs.options import JobOptions, JobRequest
    from gridloom.jobs.projects import ProjectOptions
    from gridloom.jobs.queues import QueueOptions
    from gridloom.jobs.role import Command
    from gridloom.mpi_jobs import job as mpi_job
    from gridloom.operation import Operation
    from gridloom.options import Defaults

else:
    # A client that only calls functions never needs them.
    dependencies = LazyModule("gridloom.jobs.dependencies")
    filters = LazyModule("gridloom.jobs.filters")
    handle = LazyModule("gridloom.jobs.handle")
    listing = LazyModule("gridloom.jobs.listing")
    mpi_job = LazyModule("gridloom.mpi_jobs.job")
    operations = LazyModule("gridloom.jobs.operations")
    project_operations = LazyModule("gridloom.jobs.projects")
    queue_operations = LazyModule("gridloom.jobs.queues")
    waiting = LazyModule("gridloom.jobs.waiting")
    watch = LazyModule("gridloom.jobs.watch")

T = TypeVar("T")


class JobVerbs:
    """What a `Client` does with jobs, queues and nodes."""

    connection: Connection
    defaults: Defaults

    @property
    def name(self) -> str:
        """The platform's home folder or address."""
        return self.connection.locator.name

    # ---- submission

    def run(self, command: Command | None = None, **options: Unpack[JobOptions]) -> Job:
        """Submit a command; answers when it is on the platform's disk.

        The command is a list of words, or one line with `shell=True`. It runs in a fresh folder
        with the `files` named and the program itself, where that is a file below this folder.
        """
        return self.run_many([operations.request_of(command, options)])[0]

    def run_many(self, requests: Iterable[JobRequest]) -> list[Job]:
        """Submit all of these or none: each holds the words of `run`, `command` among them."""
        asked = list(requests)
        if not asked:
            return []
        done = self.connection.run(operations.submit(asked, self.defaults, Path.cwd()))
        return [handle.Job(self, info.id, info) for info in done]

    # ---- finding

    def job(self, job_id: str) -> Job:
        """The handle of an existing job or array element; a `NotFoundError` where there is none."""
        info = self.connection.run(operations.get(job_id))
        kind = mpi_job.MpiJob if info.kind == "mpi" else handle.Job
        return kind(self, job_id, info)

    def jobs(self, *, limit: int | None = None, **chosen: Unpack[JobFilter]) -> Iterator[Job]:
        """Jobs, newest first, read as they are asked for: `state`, `labels`, `queue`, `ids`, ..."""
        meant = self._chosen(chosen)
        filters.filter_message(meant)  # a misspelt word is told here, not where jobs are read
        size = min(limit, listing.PAGE) if limit else listing.PAGE
        found = self.paged(lambda token: listing.jobs_page(meant, token, size))
        return (handle.Job(self, info.id, info) for info in islice(found, limit))

    def watch(self, *, from_revision: int = 0, **chosen: Unpack[JobFilter]) -> Iterator[JobChange]:
        """The present state of the jobs meant, then every change, for ever.

        With `from_revision`, the changes after that one and no present state.
        """
        meant = filters.filter_message(self._chosen(chosen))
        return self.connection.follow(watch.JobWatch(meant, from_revision=from_revision))

    # ---- several at once

    def wait(
        self,
        jobs: Dependencies,
        timeout: units.Duration | None = None,
        *,
        progress: bool | None = None,
    ) -> list[Job]:
        """Return the jobs when all are over; a `TimeoutError` where that takes longer.

        Handles that were given come back themselves, looked at anew. A bar shows how far it is
        where a person looks; `progress` forces it or forbids it. Ctrl-C leaves the jobs running
        and says how to come back, a second one cancels them.
        """
        given = dependencies.flat(jobs, field="jobs")
        meant = dependencies.job_ids(given, field="jobs")
        with waiting.attending(meant, progress, self.cancel) as see:
            self.connection.run(operations.wait(meant, handle.limit_s(timeout), see))
        looks = self.connection.run(operations.looks(meant))
        known = dependencies.handles_by_id(given)
        return [(known.get(each) or handle.Job(self, each)).saw(looks[each]) for each in meant]

    def cancel(
        self, jobs: Dependencies, grace: units.Duration | None = None, reason: str = ""
    ) -> list[Job]:
        """End several jobs: SIGTERM, and SIGKILL after the grace (10 s)."""
        meant = dependencies.job_ids(jobs, field="jobs")
        return self._handles(operations.cancel(meant, grace, reason))

    def hold(self, jobs: Dependencies) -> list[Job]:
        """Keep waiting jobs from starting."""
        return self._handles(operations.hold(dependencies.job_ids(jobs, field="jobs")))

    def release(self, jobs: Dependencies) -> list[Job]:
        """Let held jobs go on."""
        return self._handles(operations.release(dependencies.job_ids(jobs, field="jobs")))

    # ---- projects

    def projects(self) -> list[ProjectInfo]:
        """Every project that may be seen, with what its queues hold together."""
        return self.connection.run(project_operations.list_projects())

    def project(self, name: str) -> ProjectInfo:
        """One project; a `NotFoundError` where there is none of this name."""
        return self.connection.run(project_operations.find_project(name))

    def create_project(self, name: str, **options: Unpack[ProjectOptions]) -> ProjectInfo:
        """A new project with a queue "default": `quota`, `description`."""
        return self.connection.run(project_operations.create_project(name, options))

    def set_project(self, name: str, **options: Unpack[ProjectOptions]) -> ProjectInfo:
        """Change what is named of a project; the rest stays."""
        return self.connection.run(project_operations.set_project(name, options))

    def delete_project(self, name: str) -> None:
        """Remove a project and its queues, in which nothing is."""
        self.connection.run(project_operations.delete_project(name))

    # ---- queues and nodes

    def queues(self, project: str | None = None) -> list[QueueInfo]:
        """The project's queues."""
        return self.connection.run(queue_operations.list_queues(self._project(project)))

    def create_queue(
        self, name: str, *, project: str | None = None, **options: Unpack[QueueOptions]
    ) -> QueueInfo:
        """A new queue: `priority`, `quota`, `default_time_limit`, `max_time_limit`, `closed`."""
        return self.connection.run(
            queue_operations.create_queue(self._project(project), name, options)
        )

    def set_queue(
        self, name: str, *, project: str | None = None, **options: Unpack[QueueOptions]
    ) -> QueueInfo:
        """Change what is named of a queue; the rest stays."""
        return self.connection.run(
            queue_operations.set_queue(self._project(project), name, options)
        )

    def delete_queue(self, name: str, *, project: str | None = None) -> None:
        """Remove a queue in which nothing is."""
        self.connection.run(queue_operations.delete_queue(self._project(project), name))

    def nodes(self) -> list[NodeInfo]:
        """The machines, what they have and what of that is free."""
        return self.connection.run(queue_operations.list_nodes())

    # ---- inside

    def paged(self, page: Callable[[str], Operation[tuple[list[T], str]]]) -> Iterator[T]:
        """The items of all pages; the next one is asked for when it is needed."""
        token = ""
        while True:
            items, token = self.connection.run(page(token))
            yield from items
            if not token:
                return

    def _chosen(self, filters: JobFilter) -> JobFilter:
        return {"project": self.defaults.project, **filters}

    def _project(self, given: str | None) -> str:
        return self.defaults.project if given is None else given

    def _handles(self, operation: Operation[list[JobInfo]]) -> list[Job]:
        return [handle.Job(self, info.id, info) for info in self.connection.run(operation)]
