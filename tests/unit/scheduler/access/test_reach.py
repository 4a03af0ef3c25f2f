from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import pytest
from gridloom.api.scheduler.v1 import scheduler_pb2
from gridloom_services.common.auth import Principal, administrator, set_current_principal
from gridloom_services.common.errors import PermissionDeniedError
from gridloom_services.common.permissions import UNKNOWN, Rule
from gridloom_services.common.roles import Role
from gridloom_services.scheduler.access.reach import GANG_METHODS, check_job, narrowed
from gridloom_services.scheduler.query import JobQuery

from tests.support.scheduler import a_job, a_spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom_services.scheduler.job import Job

GANG = Principal("ada", "gang", "default", "job_1", 1)
USER = administrator("ada")
READ = Rule(Role.VIEWER)

OWN = a_job(1)
OWNERS = a_job(2)
STRANGERS = a_job(3, owner="bob")
ELSEWHERE = a_job(4, a_spec(project="chem"))


def as_caller(
    principal: Principal, work: Callable[..., Any], *args: Any, rule: Rule = UNKNOWN
) -> Any:
    """Do it as somebody, without leaving a trace in other tests."""

    def call() -> Any:
        set_current_principal(principal, rule)
        return work(*args)

    return copy_context().run(call)


def is_allowed(principal: Principal, method: str, job: Job) -> bool:
    try:
        as_caller(principal, check_job, method, job)
    except PermissionDeniedError:
        return False
    return True


def test_each_method_in_the_table_is_one_of_the_service():
    service = scheduler_pb2.DESCRIPTOR.services_by_name["SchedulerService"]
    assert GANG_METHODS.keys() <= set(service.methods_by_name)


def test_a_gang_cannot_hold_jobs_run_commands_beside_others_or_change_queues():
    refused = "HoldJobs ReleaseJobs RetryJob ExecJob CreateQueue UpdateQueue DeleteQueue"
    assert not GANG_METHODS.keys() & set(refused.split())


@pytest.mark.parametrize(
    ("job", "can_read", "can_resize"),
    [
        (OWN, True, True),
        (OWNERS, True, False),
        (STRANGERS, False, False),
        (ELSEWHERE, False, False),
    ],
)
def test_a_gang_reaches_its_own_job_and_its_owners(job: Job, *, can_read: bool, can_resize: bool):
    assert is_allowed(GANG, "GetJob", job) is can_read
    assert is_allowed(GANG, "ReadLogs", job) is can_read
    assert is_allowed(GANG, "ResizeJob", job) is can_resize


@pytest.mark.parametrize("job", [OWN, OWNERS, STRANGERS, ELSEWHERE])
def test_administrators_and_services_reach_everything(job: Job):
    assert is_allowed(USER, "GetJob", job)
    assert is_allowed(Principal("functions", "service", ""), "ResizeJob", job)


def test_what_a_gang_lists_is_narrowed_to_what_it_may_see():
    assert as_caller(GANG, narrowed, JobQuery(project="chem")) == JobQuery("default", owner="ada")
    assert as_caller(USER, narrowed, JobQuery(project="chem")) == JobQuery(project="chem")


def test_what_a_member_of_one_project_lists_is_that_projects():
    member = Principal("ada", project="chem", role=Role.VIEWER)
    assert as_caller(member, narrowed, JobQuery(), rule=READ) == JobQuery(project="chem")
    with pytest.raises(PermissionDeniedError, match="physics"):
        as_caller(member, narrowed, JobQuery(project="physics"), rule=READ)
