from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.api.functions.v1 import functions_pb2, pool_pb2
from gridloom.api.scheduler.v1 import scheduler_pb2 as pb

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.support.scripted import ScriptedPlatform
    from tests.unit.cli.conftest import CommandLine

QUEUE = pb.Queue(name="fast", project="chem", quota={"cpu": 8000}, used={"cpu": 500})
PROJECT = pb.Project(
    name="chem",
    quota={"cpu": 8000},
    used={"cpu": 500},
    queues=["cpu", "gpu"],
    queued_jobs=3,
    running_jobs=2,
)
NODE = pb.Node(
    name="n1",
    capacity={"cpu": 4000, "memory": 8 * 1024**3},
    free={"cpu": 1000, "memory": 1024**3},
    schedulable=True,
    oversubscribed=True,
)


class TestQueues:
    def test_they_are_listed_with_use_and_quota(
        self, gridloom: CommandLine, platform: ScriptedPlatform
    ):
        platform.script("ListQueues", pb.ListQueuesResponse(queues=[QUEUE]))
        heads, row = gridloom("queues", "list").out.splitlines()
        assert heads.split()[:3] == ["QUEUE", "PROJECT", "STATE"]
        assert row.split() == ["fast", "chem", "open", *("0", "0", "0"), "0.5", "cpus", "8", "cpus"]

    def test_they_are_made_and_changed(self, gridloom: CommandLine, platform: ScriptedPlatform):
        platform.script("CreateQueue", pb.CreateQueueResponse(queue=QUEUE))
        platform.script("UpdateQueue", pb.UpdateQueueResponse(queue=QUEUE))
        platform.script("DeleteQueue", pb.DeleteQueueResponse())
        deleted = gridloom("queues", "delete", "fast", "--json").document
        assert deleted == {"name": "fast", "deleted": True}
        gridloom("queues", "create", "fast", "--quota", "cpus=8", "--quota", "memory=1GiB")
        made = platform.requests["CreateQueue"][0].queue
        assert dict(made.quota) == {"cpu": 8000, "memory": 1024**3}
        ended = gridloom("queues", "set", "fast", "--closed", "--max-time-limit", "1h")
        assert ended.out == "queue fast is changed\n"
        assert list(platform.requests["UpdateQueue"][0].fields) == ["max_time_limit", "closed"]
        assert gridloom("queues", "set", "fast").code == 2
        assert gridloom("queues", "delete", "fast").err == "queue fast is gone\n"


class TestProjects:
    def test_they_are_listed_and_shown_with_use_and_quota(
        self, gridloom: CommandLine, platform: ScriptedPlatform
    ):
        platform.script("ListProjects", pb.ListProjectsResponse(projects=[PROJECT]))
        heads, row = gridloom("projects", "list").out.splitlines()
        assert heads.split() == ["PROJECT", "QUEUES", "QUEUED", "RUNNING", "USED", "QUOTA"]
        assert row.split() == ["chem", "cpu,", "gpu", "3", "2", "0.5", "cpus", "8", "cpus"]
        gridloom("projects", "show", "chem")
        assert platform.requests["ListProjects"][-1].project == "chem"

    def test_they_are_made_changed_and_removed(
        self, gridloom: CommandLine, platform: ScriptedPlatform
    ):
        platform.script("CreateProject", pb.CreateProjectResponse(project=PROJECT))
        platform.script("UpdateProject", pb.UpdateProjectResponse(project=PROJECT))
        platform.script("DeleteProject", pb.DeleteProjectResponse())
        made = gridloom("projects", "create", "chem", "--quota", "cpus=8", "--quota", "memory=1TiB")
        assert made.out == "project chem is there\n"
        asked = platform.requests["CreateProject"][0].project
        assert dict(asked.quota) == {"cpu": 8000, "memory": 1024**4}
        gridloom("projects", "set", "chem", "--no-quota", "--description", "Chemistry")
        request = platform.requests["UpdateProject"][0]
        assert set(request.fields) == {"quota", "description"}
        assert (dict(request.project.quota), request.project.description) == ({}, "Chemistry")
        assert gridloom("projects", "set", "chem").code == 2
        assert gridloom("projects", "delete", "chem").err == "project chem is gone\n"


class TestOverview:
    def test_status_shows_machines_and_queues(
        self, gridloom: CommandLine, platform: ScriptedPlatform
    ):
        platform.script("ListQueues", pb.ListQueuesResponse(queues=[QUEUE]))
        platform.script("ListNodes", pb.ListNodesResponse(nodes=[NODE]))
        platform.script("ListJobs", pb.ListJobsResponse())
        out = gridloom("status").out
        assert platform.address in out
        assert "1 of 4" in out
        assert "1 GiB of 8 GiB" in out
        assert "oversubscribed" in out
        document = gridloom("status", "--json").document
        assert document["platform"]["address"] == platform.address
        assert [node["name"] for node in document["nodes"]] == ["n1"]

    def test_top_is_a_page_where_nobody_looks(
        self, gridloom: CommandLine, platform: ScriptedPlatform
    ):
        platform.script("ListQueues", pb.ListQueuesResponse(queues=[QUEUE]))
        platform.script("ListNodes", pb.ListNodesResponse(nodes=[NODE]))
        platform.script("ListJobs", pb.ListJobsResponse())
        out = gridloom("top").out
        assert "75%" in out
        assert "3 of 4" in out
        assert "nothing runs or waits" in out
        assert gridloom("top", "--json").document["jobs"] == []


class TestPools:
    def test_pools_and_functions_are_listed(
        self, gridloom: CommandLine, platform: ScriptedPlatform
    ):
        spec = pool_pb2.PoolSpec(name="fits", workers=8, resources={"cpu": 1000})
        pool = pool_pb2.Pool(id="pool_1", spec=spec, state=pool_pb2.POOL_STATE_RUNNING, workers=3)
        platform.script("ListPools", functions_pb2.ListPoolsResponse(pools=[pool]))
        row = gridloom("pools", "list").out.splitlines()[1].split()
        assert row == ["pool_1", "fits", "RUNNING", "processes", "3", "of", "8", *"00", "1", "cpu"]
        known = functions_pb2.FunctionSummary(name="fit", succeeded=1200, mean_seconds=0.25)
        platform.script("ListFunctions", functions_pb2.ListFunctionsResponse(functions=[known]))
        row = gridloom("functions", "list").out.splitlines()[1].split()
        assert row == ["fit", "0", "0", "1,200", "0", "250ms"]

    def test_pools_are_closed(self, gridloom: CommandLine, platform: ScriptedPlatform):
        pool = pool_pb2.Pool(id="pool_1", state=pool_pb2.POOL_STATE_CLOSING)
        platform.script("ClosePool", functions_pb2.ClosePoolResponse(pool=pool))
        assert gridloom("pools", "close", "pool_1", "--now").out == "pool_1 is CLOSING\n"
        assert platform.requests["ClosePool"][0].cancel_running


class TestContexts:
    def test_a_context_is_added_used_and_forgotten(
        self, gridloom: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setenv("GRIDLOOM_CONFIG", str(tmp_path / "config.toml"))
        gridloom("contexts", "set", "lab", "--server", "hpc.example.org")
        gridloom("contexts", "use", "lab")
        rows = gridloom("contexts", "list").out.splitlines()
        assert rows[2].split() == ["*", "lab", "hpc.example.org"]
        assert gridloom("contexts", "list", "--json").document[1]["current"] is True
        gridloom("contexts", "delete", "lab")
        assert gridloom("contexts", "list", "-q").out == "embedded\n"
        assert gridloom("contexts", "use", "lab").code == 1
