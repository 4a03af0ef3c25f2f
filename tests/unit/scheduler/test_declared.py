"""What an operator may declare of projects and queues, and how a mistake in it is told."""

from __future__ import annotations

import json

import pytest
from gridloom_services.common.errors import SettingsError
from gridloom_services.scheduler.declared import declared_projects

CHEM = {
    "chem": {
        "quota": {"cpu": 512, "memory": "2Ti", "nvidia.com/gpu": 16},
        "queues": {
            "cpu": {"quota": {"cpu": "1500m"}, "maxTimeLimit": "7d"},
            "gpu": {"priority": 10, "closed": True, "description": "A100 only"},
        },
    }
}


def test_everything_is_read_in_the_schedulers_units():
    (chem,) = declared_projects(json.dumps(CHEM))
    assert chem.name == "chem"
    quota = {"cpu": 512_000, "memory": 2 * 1024**4, "nvidia.com/gpu": 16}
    assert chem.changes == {"quota": quota}
    assert chem.queues == {
        "cpu": {"quota": {"cpu": 1500}, "max_time_limit_s": 7 * 24 * 3600},
        "gpu": {"priority": 10, "closed": True, "description": "A100 only"},
    }


def test_it_may_stand_in_a_file(tmp_path):
    (tmp_path / "projects.json").write_text(json.dumps(CHEM))
    assert declared_projects(str(tmp_path / "projects.json")) == declared_projects(json.dumps(CHEM))


def test_nothing_given_is_nothing_declared():
    assert declared_projects("") == ()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("{", "is no JSON"),
        ("/nowhere.json", "cannot be read"),
        ('{"chem": {"quotas": {}}}', "chem.quotas is unknown; known are description, queues"),
        ('{"chem": {"quota": {"cpu": -1}}}', "chem.quota.cpu is -1; a whole amount"),
        ('{"chem": {"quota": {"memory": "much"}}}', "chem.quota.memory"),
        ('{"chem": {"queues": {"q": {"maxTimeLimit": "soon"}}}}', "chem.queues.q.maxTimeLimit"),
        ('{"chem": {"queues": {"q": {"priority": "high"}}}}', "chem.queues.q.priority is 'high'"),
        ('{"chem": {"queues": ["q"]}}', "chem.queues is ['q']; an object is expected"),
    ],
)
def test_a_mistake_is_told_with_its_place(said, message):
    with pytest.raises(SettingsError) as caught:
        declared_projects(said)
    assert message in caught.value.message
    assert "GRIDLOOM_SCHEDULER_PROJECTS" in caught.value.message
