from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from gridloom_services.common.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    SettingsError,
)
from gridloom_services.scheduler.declared import bring_about, declared_projects
from gridloom_services.scheduler.explain import PendingReason
from gridloom_services.scheduler.queue import Queue

from tests.support.scheduler import a_spec

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from gridloom_services.scheduler.projects import Projects, ProjectView

    from tests.support.scheduler import Platform


async def change(platform: Platform, act: Callable[[Projects], Any]) -> None:
    await platform.control.change_projects(act)


def view(platform: Platform, name: str) -> ProjectView:
    (found,) = platform.control.core.projects.views(name)
    return found


async def declare(platform: Platform, **projects: Any) -> None:
    declared = declared_projects(json.dumps(projects))
    queues = platform.control.core.queues
    await change(platform, lambda projects: bring_about(declared, projects, queues))


async def test_a_project_is_there_with_a_queue_after_a_restart_and_gone_when_removed(platform):
    said = {"quota": {"cpu": 2000}, "description": "Chemistry"}
    await change(platform, lambda projects: projects.create("chem", said))
    await platform.restart()
    chem = view(platform, "chem")
    assert (chem.quota, chem.description, chem.queues) == ({"cpu": 2000}, "Chemistry", ("default",))
    await change(platform, lambda projects: projects.delete("chem"))
    await platform.restart()
    assert platform.control.core.projects.names() == {"default"}


async def test_a_project_that_only_has_queues_is_one_and_can_be_given_a_quota(platform):
    await platform.control.change_queues(lambda queues: queues.create(Queue("bio", "gpu")))
    assert view(platform, "bio").quota == {}
    await change(platform, lambda projects: projects.update("bio", {"quota": {"cpu": 1000}}))
    await platform.restart()
    assert (view(platform, "bio").quota, view(platform, "bio").queues) == ({"cpu": 1000}, ("gpu",))


async def test_what_its_queues_run_stays_together_within_its_quota(platform):
    said = {"quota": {"cpu": 1000}}
    await change(platform, lambda projects: projects.create("chem", said))
    await platform.control.change_queues(lambda queues: queues.create(Queue("chem", "gpu")))
    first, second = await platform.submit(
        a_spec(project="chem", queue="default"), a_spec(project="chem", queue="gpu")
    )
    assert (view(platform, "chem").running_jobs, view(platform, "chem").queued_jobs) == (1, 1)
    assert view(platform, "chem").used["cpu"] == 1000
    (target,) = await platform.control.targets([second])
    why = platform.control.explain(target)
    assert why.reason is PendingReason.PROJECT_QUOTA
    assert "the quota of project chem leaves 0" in why.message
    await change(platform, lambda projects: projects.update("chem", {"quota": {}}))
    await platform.settle()
    assert view(platform, "chem").running_jobs == 2
    with pytest.raises(ConflictError, match="still has 2 jobs"):
        await change(platform, lambda projects: projects.delete("chem"))
    for job_id in (first, second):
        await platform.finish(f"{job_id}-a1")


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda projects: projects.create("default", {}), AlreadyExistsError),
        (lambda projects: projects.create("Not Good", {}), InvalidRequestError),
        (lambda projects: projects.create("chem", {"quota": {"cpu": -1}}), InvalidRequestError),
        (lambda projects: projects.update("chem", {}), NotFoundError),
        (lambda projects: projects.delete("chem"), NotFoundError),
    ],
)
async def test_what_cannot_be_is_refused_and_leaves_nothing(platform, act, error):
    with pytest.raises(error):
        await change(platform, act)
    assert platform.control.core.projects.names() == {"default"}


async def test_what_is_declared_is_made_and_said_again_changes_only_what_differs(platform):
    chem = {"quota": {"cpu": 4}, "queues": {"gpu": {"priority": 3, "maxTimeLimit": "1h"}}}
    for _ in range(2):
        await declare(platform, chem=chem, bio={})
        await platform.restart()
    assert view(platform, "chem").quota == {"cpu": 4000}
    gpu = platform.control.core.queues.find("chem", "gpu")
    assert (gpu.priority, gpu.max_time_limit_s, gpu.default_time_limit_s) == (3, 3600, 3600)
    assert view(platform, "bio").queues == ("default",)
    changes = {"description": "by hand"}
    await platform.control.change_queues(lambda queues: queues.update("chem", "gpu", changes))
    await declare(platform, chem={"queues": {"gpu": {"priority": 5}}})
    gpu = platform.control.core.queues.find("chem", "gpu")
    assert (gpu.priority, gpu.max_time_limit_s, gpu.description) == (5, 3600, "by hand")
    # A quota that is no longer declared is none any more.
    assert view(platform, "chem").quota == {}


async def test_what_is_declared_and_cannot_be_is_told_as_a_wrong_setting(platform):
    with pytest.raises(SettingsError, match="GRIDLOOM_SCHEDULER_PROJECTS: Chem"):
        await declare(platform, Chem={"queues": {"q": {}}})
