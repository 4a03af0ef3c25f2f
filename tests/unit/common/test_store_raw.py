"""Transactions by the driver's own statements: the promises are those of `transact`."""

import pytest
from gridloom_services.common.errors import StorageFullError
from gridloom_services.common.schema import Schema
from gridloom_services.common.store import Database
from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table

METADATA = MetaData()
Table("things", METADATA, Column("id", Integer, primary_key=True), Column("data", LargeBinary))


@pytest.fixture
async def database(tmp_path, sqlite_url):
    (tmp_path / "0001_first.py").touch()
    opened = await Database.open(sqlite_url, Schema("things", METADATA, tmp_path))
    yield opened
    await opened.close()


def add(number, data=b""):
    return lambda raw: raw.execute("INSERT INTO things VALUES (?, ?)", (number, data)).rowcount


def count(database):
    (found,) = database.raw.execute("SELECT count(*) FROM things").fetchone()
    return found


async def test_what_was_written_is_there_and_the_result_comes_back(database):
    assert database.transact_raw(add(1)) == 1
    assert count(database) == 1
    assert not database.raw.in_transaction


async def test_what_raises_leaves_nothing_behind(database):
    def fails(raw):
        add(1)(raw)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        database.transact_raw(fails)
    assert count(database) == 0
    assert not database.raw.in_transaction


async def test_a_full_disk_is_told_as_such_and_the_store_goes_on(database):
    (pages,) = database.raw.execute("PRAGMA page_count").fetchone()
    database.raw.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageFullError):
        database.transact_raw(add(1, bytes(1_000_000)))
    database.raw.execute("PRAGMA max_page_count = 1000000")
    database.transact_raw(add(2, bytes(1_000_000)))
    assert count(database) == 1


async def test_it_goes_together_with_ordinary_transactions(database):
    database.transact_raw(add(1))
    await database.write(lambda connection: connection.exec_driver_sql("DELETE FROM things"))
    database.transact_raw(add(1))
    assert count(database) == 1


async def test_a_commit_whose_outcome_is_unknown_ends_the_process(database):
    ends = []
    database._on_failure = ends.append
    refuse = "CREATE TABLE child (thing INTEGER REFERENCES things DEFERRABLE INITIALLY DEFERRED)"
    database.transact_raw(lambda raw: raw.execute(refuse))
    with pytest.raises(Exception, match="FOREIGN KEY"):
        database.transact_raw(lambda raw: raw.execute("INSERT INTO child VALUES (99)"))
    assert len(ends) == 1
    assert not database.raw.in_transaction
