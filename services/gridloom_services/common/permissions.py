"""The one table of who may call what, and of what the audit log keeps of it.

Each method of each service has a row here; one without is for administrators of the whole platform
only (and a test fails). A project's role is checked in two places: the interceptor refuses whoever
has too little anywhere, and the service refuses by `require_project` when it knows which project,
and whose work, the call is about. What the processes of a job may call is said by each service's
`gang_methods`; services may call everything.
"""

from __future__ import annotations

import enum

from gridloom.values import dataclass

from gridloom_services.common.roles import Role


class Scope(enum.Enum):
    """Where the role is needed."""

    # In the project that the call is about.
    PROJECT = "in the project"
    # In any project at all.
    ANYWHERE = "in any project"
    # In every project: only a platform-wide key has it.
    PLATFORM = "in every project"
    # People may not call it, whatever their role.
    SERVICES = "for services"
    GANGS = "for the processes of jobs"


@dataclass(frozen=True, slots=True)
class Rule:
    """What one method asks of its caller."""

    role: Role
    scope: Scope = Scope.PROJECT
    # Needed for what belongs to somebody else. None: the same.
    others: Role | None = None
    # What the audit log calls it. Empty: it changes nothing that the log keeps.
    action: str = ""
    # Fields of the request, or of the answer, that name what is changed: "job_ids", "queue.name".
    asked: tuple[str, ...] = ()
    made: tuple[str, ...] = ()

    def role_for(self, *, is_own: bool) -> Role:
        """The role that it takes."""
        return self.role if is_own or self.others is None else self.others


_READ = Rule(Role.VIEWER)
_SERVICES = Rule(Role.ADMIN, Scope.SERVICES)
_GANGS = Rule(Role.ADMIN, Scope.GANGS)
_SUBMITTER, _OPERATOR, _ADMIN = Role.SUBMITTER, Role.OPERATOR, Role.ADMIN


def _work(action: str, *asked: str) -> Rule:
    """Changes work: one's own as a submitter, that of others as an operator."""
    return Rule(_SUBMITTER, others=_OPERATOR, action=action, asked=asked)


def _administration(action: str, *asked: str) -> Rule:
    return Rule(_ADMIN, action=action, asked=asked)


_SCHEDULER = {
    "SubmitJobs": Rule(_SUBMITTER, action="job.submit", made=("jobs.id",)),
    "GetJob": _READ,
    "ListJobs": _READ,
    "CancelJobs": _work("job.cancel", "job_ids"),
    "HoldJobs": _work("job.hold", "job_ids"),
    "ReleaseJobs": _work("job.release", "job_ids"),
    # The new job is the caller's own.
    "RetryJob": Rule(_SUBMITTER, action="job.retry", asked=("job_id",), made=("job.id",)),
    "ResizeJob": _work("job.resize", "job_id"),
    "ExplainJob": _READ,
    "WatchJobs": _READ,
    "ListJobEvents": _READ,
    "ReadLogs": _READ,
    "ExecJob": _work("job.exec", "start.job_id"),
    "ListNodes": Rule(Role.VIEWER, Scope.ANYWHERE),
    # Of all projects together.
    "WatchDemand": Rule(Role.VIEWER, Scope.PLATFORM),
    "CreateQueue": _administration("queue.create", "queue.name"),
    "UpdateQueue": _administration("queue.update", "queue.name"),
    "DeleteQueue": _administration("queue.delete", "name"),
    "ListQueues": _READ,
    # A project's own administrators live with the quota that it was given.
    "CreateProject": Rule(_ADMIN, Scope.PLATFORM, action="project.create", asked=("project.name",)),
    "UpdateProject": Rule(_ADMIN, Scope.PLATFORM, action="project.update", asked=("project.name",)),
    "DeleteProject": Rule(_ADMIN, Scope.PLATFORM, action="project.delete", asked=("project",)),
    "ListProjects": _READ,
}

_ACCESS = {
    "WhoAmI": Rule(Role.NONE, Scope.ANYWHERE),
    # A member may have keys of their own, which do no more than they may.
    "CreateKey": Rule(Role.VIEWER, others=_ADMIN, action="key.create", made=("key.id",)),
    "ListKeys": Rule(Role.VIEWER, others=_ADMIN),
    "RevokeKey": Rule(Role.VIEWER, others=_ADMIN, action="key.revoke", asked=("key_id",)),
    "SetMember": _administration("member.set", "user"),
    "RemoveMember": _administration("member.remove", "user"),
    "ListMembers": _READ,
    "ListAuditEntries": Rule(_ADMIN),
    "VerifyKeys": _SERVICES,
    "ReportAuditEntries": _SERVICES,
}

_FUNCTIONS = {
    # The calls in it are data, not changes: groups and results tell of them.
    "OpenSession": Rule(_SUBMITTER),
    "GetCall": _READ,
    "GetGroup": _READ,
    "ListGroups": _READ,
    "ReadResults": _READ,
    "ReadOutput": _READ,
    "ListEvents": _READ,
    "CancelCalls": _work("call.cancel", "group_id", "call_ids"),
    "ListFunctions": _READ,
    "CreatePool": Rule(_SUBMITTER, action="pool.create", made=("pool.id",)),
    "GetPool": _READ,
    "ListPools": _READ,
    "ResizePool": _work("pool.resize", "pool_id"),
    "ClosePool": _work("pool.close", "pool_id"),
    "ServeCalls": _GANGS,
}

_MPI = {
    # The scheduler, which is asked in the caller's name, writes the job down.
    "SubmitMpiJob": Rule(_SUBMITTER),
}

# Objects belong to no project: whoever knows a digest has been told it by a job or a result.
_OBJECTS = {
    "PutObject": Rule(_SUBMITTER, Scope.ANYWHERE),
    "GetObject": Rule(Role.VIEWER, Scope.ANYWHERE),
    "StatObjects": Rule(Role.VIEWER, Scope.ANYWHERE),
    "HoldObjects": Rule(_SUBMITTER, Scope.ANYWHERE),
    # Would take away what others hold.
    "ReleaseObjects": Rule(_ADMIN, Scope.PLATFORM, action="object.release", asked=("holder",)),
}

_REFLECTION = {"ServerReflectionInfo": Rule(Role.NONE, Scope.ANYWHERE)}

_SERVICES_OF_TODAY = {
    "gridloom.api.scheduler.v1.SchedulerService": _SCHEDULER,
    "gridloom.api.scheduler.v1.AccessService": _ACCESS,
    "gridloom.api.functions.v1.FunctionsService": _FUNCTIONS,
    "gridloom.api.mpi.v1.MpiService": _MPI,
    "gridloom.api.objects.v1.ObjectsService": _OBJECTS,
    "grpc.reflection.v1alpha.ServerReflection": _REFLECTION,
}

# By path: "/gridloom.api.scheduler.v1.SchedulerService/SubmitJobs".
RULES = {
    f"/{service}/{method}": rule
    for service, rules in _SERVICES_OF_TODAY.items()
    for method, rule in rules.items()
}

# Of a method that was forgotten above.
UNKNOWN = Rule(_ADMIN, Scope.PLATFORM)
