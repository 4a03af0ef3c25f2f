"""Projects: what is done with them, written once."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from gridloom.api.scheduler.v1 import scheduler_pb2 as pb
from gridloom.errors import InvalidRequestError, NotFoundError
from gridloom.jobs.info import ProjectInfo, read_project
from gridloom.jobs.queues import Quota, quota_amounts
from gridloom.operation import Call
from gridloom.options import check_options

if TYPE_CHECKING:
    from gridloom.operation import Operation


class ProjectOptions(TypedDict, total=False):
    """What a project can be told. `quota` is like `{"cpus": 512, "memory": "2TiB"}`."""

    quota: Quota
    description: str


OPTION_NAMES = tuple(ProjectOptions.__annotations__)


def list_projects(name: str = "") -> Operation[list[ProjectInfo]]:
    """Every project that may be seen; the one of this name where one is given."""
    request = pb.ListProjectsRequest(project=name)
    answer: pb.ListProjectsResponse = yield Call("scheduler", "ListProjects", request)
    return [read_project(project) for project in answer.projects]


def find_project(name: str) -> Operation[ProjectInfo]:
    """The project of this name; a `NotFoundError` where there is none."""
    found = yield from list_projects(name)
    if not found:
        raise NotFoundError(f'project "{name}" does not exist', field="project", given=name)
    return found[0]


def create_project(name: str, options: ProjectOptions) -> Operation[ProjectInfo]:
    """A new project and its queue "default"; a `ConflictError` where it exists."""
    request = pb.CreateProjectRequest(project=_project(name, options))
    answer: pb.CreateProjectResponse = yield Call("scheduler", "CreateProject", request)
    return read_project(answer.project)


def set_project(name: str, options: ProjectOptions) -> Operation[ProjectInfo]:
    """The project with these options changed and all others as they were."""
    if not options:
        raise InvalidRequestError(
            f'nothing to set on project "{name}"', field="project", allowed=", ".join(OPTION_NAMES)
        )
    request = pb.UpdateProjectRequest(project=_project(name, options), fields=list(options))
    answer: pb.UpdateProjectResponse = yield Call("scheduler", "UpdateProject", request)
    return read_project(answer.project)


def delete_project(name: str) -> Operation[None]:
    """Remove a project and its queues, in which nothing is."""
    yield Call("scheduler", "DeleteProject", pb.DeleteProjectRequest(project=name))


def _project(name: str, options: ProjectOptions) -> pb.Project:
    check_options(options, OPTION_NAMES)
    return pb.Project(
        name=name,
        quota=quota_amounts(options.get("quota", {})),
        description=options.get("description", ""),
    )
