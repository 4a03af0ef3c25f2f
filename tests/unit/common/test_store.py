from __future__ import annotations

import asyncio
import dataclasses
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from gridloom_services.common.errors import (
    StartError,
    StorageFullError,
    StoreInUseError,
    UnavailableError,
)
from gridloom_services.common.store import EXIT_STORE_FAILED, Database, GroupCommit
from sqlalchemy import MetaData, event, text
from sqlalchemy.exc import IntegrityError

from tests.unit.common.tables import SCHEMA, add, noted, numbers, put

ROOT = Path(__file__).resolve().parents[3]

# What a process of its own does to the store at argv[1].
PROLOGUE = """
import asyncio, sys
from gridloom_services.common.errors import UnavailableError
from gridloom_services.common.store import Database, GroupCommit
from tests.unit.common.tables import SCHEMA, add, noted, numbers, put

async def main():
    database = await Database.open(sys.argv[1], SCHEMA)
    commits = GroupCommit(database)
"""


@pytest.fixture
async def database(database_url):
    opened = await Database.open(database_url, SCHEMA)
    yield opened
    await opened.close()


@pytest.fixture
async def sqlite_database(sqlite_url):
    opened = await Database.open(sqlite_url, SCHEMA)
    yield opened
    await opened.close()


@pytest.fixture
def commits(database):
    return GroupCommit(database)


def counted(database: Database) -> list[object]:
    """Grows by one with each commit."""
    found: list[object] = []
    if database.is_sqlite:
        database.raw.set_trace_callback(lambda sql: found.append(sql) if sql == "COMMIT" else None)
    else:
        event.listen(database.engine, "commit", found.append)
    return found


def violation(database: Database) -> type[Exception]:
    """What the driver raises for a key that is there already."""
    return sqlite3.IntegrityError if database.is_sqlite else psycopg.errors.UniqueViolation


def run_process(url: str, body: str) -> subprocess.Popen[bytes]:
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    script = f"{PROLOGUE}{lines}\nasyncio.run(main())\n"
    return subprocess.Popen(
        [sys.executable, "-c", script, url],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def limit_pages(database: Database, more: int | None) -> None:
    """Make the disk full after `more` pages; None: give it room again."""
    (pages,) = database.raw.execute("PRAGMA page_count").fetchone()
    database.raw.execute(f"PRAGMA max_page_count = {2**31 if more is None else pages + more}")


async def test_what_is_written_is_read(database):
    assert await database.write(add(1)) == 1
    assert await database.read(numbers) == [1]


async def test_work_that_raises_leaves_nothing_and_its_error_is_raised(database):
    def work(connection):
        add(1)(connection)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await database.write(work)
    assert await database.read(numbers) == []


async def test_a_statement_that_fails_is_raised_as_it_is(database):
    await database.write(add(1))
    with pytest.raises(IntegrityError):
        await database.write(add(1))
    await database.write(add(2))
    assert await database.read(numbers) == [1, 2]


async def test_each_opening_may_have_the_next_epoch(database_url):
    for expected in (1, 2, 3):
        database = await Database.open(database_url, SCHEMA)
        assert await database.next_epoch() == expected
        await database.close()


async def test_many_submits_of_one_pass_share_one_commit(database, commits):
    count = counted(database)
    results = await asyncio.gather(*(commits.submit(put(n)) for n in range(100)))
    assert results == list(range(100))
    assert len(count) == 1
    assert await database.read(numbers) == list(range(100))


async def test_submits_of_different_passes_have_commits_of_their_own(database, commits):
    count = counted(database)
    await commits.submit(put(1))
    await commits.submit(put(2))
    assert len(count) == 2


async def test_one_failing_work_does_not_concern_the_others(database, commits):
    def broken(cursor):
        put(50)(cursor)
        raise ValueError("broken")

    works = [put(1), broken, put(2), put(2), put(3)]
    results = await asyncio.gather(*map(commits.submit, works), return_exceptions=True)
    assert [type(r) for r in results] == [int, ValueError, int, violation(database), int]
    assert await database.read(numbers) == [1, 2, 3]


async def test_a_failing_work_alone_leaves_nothing(database, commits):
    await database.write(add(1))
    with pytest.raises(violation(database)):
        await commits.submit(put(1))
    assert await database.read(numbers) == [1]


async def test_work_sees_what_was_submitted_before_it(commits):
    _, seen = await asyncio.gather(commits.submit(put(1)), commits.submit(noted))
    assert seen == [1]


async def test_a_caller_that_has_gone_before_the_commit_is_not_served(database, commits):
    gone, stays = commits.submit(put(1)), commits.submit(put(2))
    gone.cancel()
    await stays
    assert await database.read(numbers) == [2]


async def test_join_returns_when_all_is_done(commits):
    futures = [commits.submit(put(n)) for n in range(10)]
    await commits.join()
    assert all(future.done() for future in futures)


async def test_what_comes_while_a_commit_runs_is_not_forgotten(database, commits):
    async def client(number: int) -> None:
        for step in range(10):
            await commits.submit(put(100 * number + step))

    await asyncio.gather(*map(client, range(10)))
    assert len(await database.read(numbers)) == 100


async def test_a_failed_commit_ends_the_process_and_acknowledges_nothing(database_url):
    # The foreign key is checked when the transaction ends: a commit that fails for real.
    with run_process(
        database_url,
        """
print("first", await commits.submit(put(1)), flush=True)
print("second", await commits.submit(put(2, answers=99)), flush=True)
""",
    ) as process:
        output, errors = process.communicate()
    assert process.returncode == EXIT_STORE_FAILED, errors.decode()
    assert output == b"first 1\n"
    database = await Database.open(database_url, SCHEMA)
    assert await database.read(numbers) == [1]
    await database.close()


async def test_what_was_acknowledged_survives_a_kill(database_url):
    with run_process(
        database_url,
        """
for n in range(10**6):
    await commits.submit(put(n))
    print(n, flush=True)
""",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 50:
                process.kill()
                break
        acknowledged = max([50, *map(int, process.stdout.read().split())])
    assert process.returncode == -signal.SIGKILL
    database = await Database.open(database_url, SCHEMA)
    found = await database.read(numbers)
    await database.close()
    # One more may be on disk whose acknowledgement did not come through.
    assert found in (list(range(acknowledged + 1)), list(range(acknowledged + 2)))


async def test_a_full_disk_refuses_the_work_and_keeps_the_store(sqlite_database):
    database = sqlite_database
    await database.write(add(1))
    limit_pages(database, 0)
    with pytest.raises(StorageFullError, match="nothing was accepted"):
        await database.write(add(2, "x" * 100_000))
    assert await database.read(numbers) == [1]
    limit_pages(database, None)
    await database.write(add(3))
    assert await database.read(numbers) == [1, 3]
    assert (
        await database.read(lambda c: c.exec_driver_sql("PRAGMA integrity_check").scalar())
    ) == "ok"


async def test_a_full_disk_refuses_the_whole_group(sqlite_database):
    database, commits = sqlite_database, GroupCommit(sqlite_database)
    await database.write(add(1))
    limit_pages(database, 3)
    works = [commits.submit(put(n, "x" * 10_000)) for n in range(2, 6)]
    results = await asyncio.gather(*works, return_exceptions=True)
    assert {type(result) for result in results} == {StorageFullError}
    assert await database.read(numbers) == [1]
    limit_pages(database, None)
    assert await commits.submit(put(2)) == 2


async def test_the_drivers_connection_takes_part_in_the_transaction(sqlite_database):
    database = sqlite_database

    def work(_):
        database.raw.execute("INSERT INTO notes VALUES (1, 'raw', NULL)")
        raise KeyError("undo it")

    with pytest.raises(KeyError):
        await database.write(work)
    assert await database.read(numbers) == []


async def test_the_drivers_connection_is_sqlites_only(postgres_url):
    database = await Database.open(postgres_url, SCHEMA)
    with pytest.raises(TypeError):
        _ = database.raw
    await database.close()


async def test_a_server_that_was_away_is_unavailable_and_then_there_again(postgres_url):
    database = await Database.open(postgres_url, SCHEMA)
    commits = GroupCommit(database)

    def die(cursor):
        cursor.run("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(UnavailableError):
        await database.run(die)
    await database.write(add(1))
    results = await asyncio.gather(
        *map(commits.submit, [put(2), die, put(3)]), return_exceptions=True
    )
    assert {type(result) for result in results} == {UnavailableError}
    assert await commits.submit(noted) == [1]
    await database.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://localhost/x", "mysql is not a database for Gridloom"),
        ("postgresql://nobody@/x?host=/nowhere", "cannot be reached"),
        ("sqlite:////nowhere/at/all.db", "/nowhere/at/all.db cannot be opened"),
    ],
)
async def test_a_store_that_cannot_be_opened_says_which(url, message):
    with pytest.raises(StartError, match=message):
        await Database.open(url, SCHEMA)


async def test_a_password_is_not_told():
    url = "postgresql://ada:secret@/x?host=/nowhere"
    with pytest.raises(StartError) as caught:
        await Database.open(url, SCHEMA)
    assert "secret" not in caught.value.message


@pytest.mark.slow
async def test_a_service_is_alone_on_its_postgresql_database(postgres_url):
    first = await Database.open(postgres_url, SCHEMA, sole=True)
    other = dataclasses.replace(SCHEMA, service="other", tables=MetaData())
    await (await Database.open(postgres_url, other, sole=True)).close()
    with pytest.raises(StoreInUseError, match="another notes service works on postgresql"):
        await Database.open(postgres_url, SCHEMA, sole=True)
    await first.write(add(1))
    await first.close()
    second = await Database.open(postgres_url, SCHEMA, sole=True)
    assert await second.read(numbers) == [1]
    await second.close()


@pytest.mark.slow
async def test_one_that_lost_its_place_while_the_server_was_away_ends(postgres_url):
    with run_process(
        postgres_url,
        """
await database.close()
database = await Database.open(sys.argv[1], SCHEMA, sole=True)
print("here", flush=True)
sys.stdin.readline()
for _ in range(2):
    try:
        await database.read(numbers)
    except UnavailableError:
        print("away", flush=True)
""",
    ) as process:
        await asyncio.to_thread(process.stdout.readline)
        successor = await Database.open(postgres_url, SCHEMA)
        kill = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
        await successor.write(lambda c: c.execute(text(kill)))
        await successor.close()
        successor = await Database.open(postgres_url, SCHEMA, sole=True)
        await asyncio.to_thread(process.communicate, b"\n")
        assert process.returncode == EXIT_STORE_FAILED
        await successor.close()
