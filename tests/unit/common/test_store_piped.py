"""Transactions in two journeys to PostgreSQL: as whole and as durable as the others."""

from __future__ import annotations

import psycopg
import pytest
from gridloom_services.common.errors import UnavailableError
from gridloom_services.common.store import Database

from tests.unit.common.tables import SCHEMA, add, numbers, put


@pytest.fixture
async def database(postgres_url):
    opened = await Database.open(postgres_url, SCHEMA)
    yield opened
    await opened.close()


async def test_what_is_written_is_seen_by_others(database, postgres_url):
    await database.run_piped(put(1))
    other = await Database.open(postgres_url, SCHEMA)
    assert await other.read(numbers) == [1]
    await other.close()


async def test_a_statement_that_fails_is_raised_and_nothing_of_its_work_remains(database):
    await database.run_piped(put(1))

    def twice(cursor):
        for number in (2, 1, 3):
            put(number)(cursor)

    with pytest.raises(psycopg.errors.UniqueViolation):
        await database.run_piped(twice)
    assert await database.read(numbers) == [1]
    await database.run_piped(put(4))
    assert await database.read(numbers) == [1, 4]


async def test_work_that_raises_leaves_nothing_and_its_error_is_raised(database):
    def work(cursor):
        put(1)(cursor)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await database.run_piped(work)
    assert await database.read(numbers) == []


async def test_transactions_that_follow_are_whole_again(database):
    await database.run_piped(put(1))

    def work(connection):
        add(2)(connection)
        raise KeyError("mine")

    with pytest.raises(KeyError):
        await database.write(work)
    assert await database.read(numbers) == [1]


async def test_a_server_that_was_away_is_unavailable_and_then_there_again(database):
    def die(cursor):
        put(1)(cursor)
        cursor.run("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(UnavailableError):
        await database.run_piped(die)
    await database.run_piped(put(2))
    assert await database.read(numbers) == [2]
