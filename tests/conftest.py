"""Fixtures for every test: the two databases."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.postgresql import PostgresServer, programs
from tests.support.s3 import environment, s3_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A shell starts what runs in its background deaf to Ctrl-C, and so would be all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A server, started by the first test of this process that needs one."""
    folder = programs()
    if folder is None:
        pytest.skip("no PostgreSQL server is installed here")
    server = PostgresServer(folder)
    yield server
    server.stop()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """An empty PostgreSQL database."""
    url = postgres_server.new_database()
    yield url
    postgres_server.drop(url)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """An SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database, of each kind in turn."""
    fixture = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return str(request.getfixturevalue(fixture))


@pytest.fixture(scope="session")
def s3() -> Iterator[None]:
    """An S3 that clients in this process and in those that it starts find by their environment."""
    with s3_server() as values, environment(values):
        yield
