"""What is asked of a start where several processes and a database come up in any order."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import gridloom
import pytest
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.pool import NullPool

from tests.support.front import free_port
from tests.support.service import ServiceProcess

if TYPE_CHECKING:
    from pathlib import Path

SERVICES = ("objects", "scheduler", "functions")


def migrated(name: str, home: Path, **settings: object) -> ServiceProcess:
    """`python -m gridloom_services.NAME migrate`, to its end."""
    process = ServiceProcess(name, home, "migrate", **settings)
    process.wait()
    process.__exit__()
    return process


@pytest.mark.slow
def test_all_services_share_a_database_and_can_be_migrated_again_and_at_once(
    tmp_path, postgres_url
):
    def run(name: str) -> dict[str, object]:
        return migrated(name, tmp_path, database_url=postgres_url).said("migrated")

    with ThreadPoolExecutor(4) as threads:
        said = list(threads.map(run, (*SERVICES, "scheduler")))
    assert all(record["revision"] for record in said)
    engine = create_engine(postgres_url, poolclass=NullPool)
    tables = inspect(engine).get_table_names()
    assert {f"gridloom_{name}_version" for name in SERVICES} <= set(tables)
    with engine.connect() as connection:
        for name in SERVICES:
            rows = connection.execute(text(f"SELECT version_num FROM gridloom_{name}_version"))
            assert len(rows.all()) == 1


def test_a_store_in_a_file_is_migrated_by_the_same_verb_unless_its_service_runs(tmp_path):
    assert migrated("objects", tmp_path).said("migrated")["store"].endswith("objects.db")
    with ServiceProcess("objects", tmp_path) as running:
        refused = migrated("objects", tmp_path)
    assert f"pid {running.pid}" in refused.lines[-1]


def test_a_verb_that_is_none_is_refused(tmp_path):
    process = ServiceProcess("objects", tmp_path, "migrat")
    assert process.wait() == 2
    process.__exit__()
    assert any("invalid choice" in line for line in process.lines)


def test_a_successor_waits_until_its_predecessor_lets_go(tmp_path, postgres_url):
    settings = {"database_url": postgres_url, "start_patience_s": 60}
    with ServiceProcess("objects", tmp_path / "first", **settings) as first:
        second = ServiceProcess("objects", tmp_path / "second", **settings)
        try:
            second.until("waiting for the database")
            assert (
                "another objects service works on"
                in second.said("waiting for the database")["reason"]
            )
            assert not second.said("ready")
            first.signal(signal.SIGTERM)
            assert first.wait() == 0
            second.until("ready")
        finally:
            second.__exit__()


def test_one_that_waits_can_be_told_to_end(tmp_path, postgres_url):
    settings = {"database_url": postgres_url, "start_patience_s": 3600}
    with ServiceProcess("objects", tmp_path / "first", **settings):
        second = ServiceProcess("objects", tmp_path / "second", **settings)
        second.until("waiting for the database").signal(signal.SIGTERM)
        assert second.wait() == 0
        second.__exit__()


def test_a_database_that_is_not_there_is_waited_for_and_then_named(tmp_path):
    url = f"postgresql://ada:secret@127.0.0.1:{free_port()}/x"
    service = ServiceProcess("objects", tmp_path, database_url=url, start_patience_s=0.5)
    assert service.wait() == 1
    service.__exit__()
    assert "cannot be reached" in service.lines[-1]
    assert service.said("waiting for the database")
    assert "secret" not in "".join(service.lines)


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_takes_a_setting_that_is_misspelt(tmp_path, name):
    service = ServiceProcess(name, tmp_path, **{f"{name}_databas_url": "x"})
    assert service.wait() == 2
    service.__exit__()
    assert "did you mean" in service.lines[-1]


def test_declared_projects_are_there_when_the_scheduler_is_and_a_mistake_keeps_it_from_starting(
    tmp_path,
):
    settings = {"scheduler_cpus": 2, "objects_address": "127.0.0.1:1"}
    said = '{"chem": {"quota": {"cpu": 2}, "queues": {"gpu": {"quota": {"nvidia.com/gpu": 1}}}}}'
    with (
        ServiceProcess("scheduler", tmp_path, scheduler_projects=said, **settings) as service,
        gridloom.connect(service.address, api_key=service.token) as client,
    ):
        chem = client.project("chem")
        assert (dict(chem.quota), chem.queues) == ({"cpu": 2000}, ("gpu",))
        assert client.create_project("bio", quota={"memory": "1GiB"}).queues == ("default",)
        assert [each.name for each in client.projects()] == ["bio", "chem", "default"]
        client.delete_project("bio")
    wrong = ServiceProcess("scheduler", tmp_path, scheduler_projects='{"Chem": {}}', **settings)
    assert wrong.wait() == 2
    wrong.__exit__()
    assert "GRIDLOOM_SCHEDULER_PROJECTS: Chem project cannot be" in wrong.lines[-1]
