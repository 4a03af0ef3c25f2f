"""The program that applies the queues of the values, against a platform."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.chart import CHART
from tests.support.home import Home

PROGRAM = CHART / "files" / "projects" / "apply.py"


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home")
    yield home
    home.close()


def apply(home, folder, projects):
    """Run it as its pod does."""
    record = home.platform.start()
    (folder / "projects.json").write_text(json.dumps(projects))
    key = (home.path / "token").read_text()
    (folder / "admin-key").write_text(key)
    command = [sys.executable, str(PROGRAM), "projects.json", "admin-key"]
    environment = {**os.environ, "GRIDLOOM_ADDRESS": f"http://{record.address}"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def queue(home, name):
    said = json.loads(home.gridloom("queues", "list", "--json", "--project", "chem").out)
    (found,) = [each for each in said if each["name"] == name]
    return found


@pytest.mark.slow
def test_queues_are_made_then_changed_and_never_taken_away(home, tmp_path):
    first = {"chem": {"queues": {"cpu": {"quota": {"cpu": 4, "memory": "2GiB"}}, "old": {}}}}
    done = apply(home, tmp_path, first)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "queue chem/cpu: made",
        "queue chem/old: made",
        "project chem: as it is wanted",
    ]
    second = {"chem": {"queues": {"cpu": {"quota": {"cpu": 8}, "maxTimeLimit": "7d"}}}}
    done = apply(home, tmp_path, second)
    assert done.returncode == 0, done.stderr
    assert queue(home, "cpu")["quota"] == {"cpu": 8000}
    assert queue(home, "old")["name"] == "old"


def test_a_queue_that_is_refused_fails_the_job_with_the_reason(home, tmp_path):
    wrong = {"chem": {"queues": {"cpu": {"defaultTimeLimit": "7d", "maxTimeLimit": "1d"}}}}
    done = apply(home, tmp_path, wrong)
    assert done.returncode != 0
    assert "default_time_limit" in done.stderr


def test_projects_have_the_quota_that_is_wanted_and_a_queue(home, tmp_path):
    said = {"chem": {"quota": {"cpu": 4}, "queues": {"gpu": {}}}, "bio": {"description": "cells"}}
    for _ in range(2):
        done = apply(home, tmp_path, said)
        assert done.returncode == 0, done.stderr
    found = json.loads(home.gridloom("projects", "list", "--json").out)
    projects = {each["name"]: each for each in found}
    assert projects["chem"]["quota"] == {"cpu": 4000}
    assert projects["chem"]["queues"] == ["gpu"]
    assert (projects["bio"]["description"], projects["bio"]["queues"]) == ("cells", ["default"])
