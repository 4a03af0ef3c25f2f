from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from gridloom_services.common.errors import CorruptStoreError
from gridloom_services.common.sqlite import SqliteBackend, integrity_problems
from gridloom_services.common.store import EXIT_STORE_FAILED, Database

from tests.unit.common.tables import SCHEMA, add, numbers

MIB = 1 << 20
ROOT = Path(__file__).resolve().parents[3]

FILL = """
import asyncio, resource, signal, sys
from gridloom_services.common.store import Database
from tests.unit.common.tables import SCHEMA, add

async def main():
    database = await Database.open(sys.argv[1], SCHEMA)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
    print("writing", flush=True)
    await database.write(add(2, "x" * 20_000))
    print("acknowledged", flush=True)

asyncio.run(main())
"""


async def filled(path: Path, rows: int = 200) -> None:
    """A store with some hundred pages, closed."""
    database = await Database.open(f"sqlite:///{path}", SCHEMA)
    for number in range(rows):
        await database.write(add(number, "y" * 2000))
    await database.close()


def damage(path: Path) -> None:
    """Overwrite the middle of the file, as a bad disk does."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\xa5" * 8192)


async def test_the_log_has_its_full_length_before_the_first_commit_and_keeps_it(tmp_path):
    path = tmp_path / "store.db"
    database = await Database.open(f"sqlite:///{path}", SCHEMA, wal_bytes=2 * MIB)
    log = path.with_name("store.db-wal")
    assert log.stat().st_size == 3 * MIB
    for number in range(100):
        await database.write(add(number, "x" * 1000))
    assert log.stat().st_size == 3 * MIB
    await database.close()
    assert not log.exists()


async def test_a_store_that_was_killed_opens_with_its_long_log(tmp_path):
    path, copy = tmp_path / "store.db", tmp_path / "copy.db"
    database = await Database.open(f"sqlite:///{path}", SCHEMA, wal_bytes=MIB)
    await database.write(add(1))
    # What a crash at this moment leaves behind.
    copy.write_bytes(path.read_bytes())
    copy.with_name("copy.db-wal").write_bytes(path.with_name("store.db-wal").read_bytes())
    await database.close()
    again = await Database.open(f"sqlite:///{copy}", SCHEMA, wal_bytes=MIB)
    assert await again.read(numbers) == [1]
    await again.write(add(2))
    await again.close()
    assert integrity_problems(copy) == []


async def test_a_damaged_file_is_refused_with_what_to_do(tmp_path):
    path = tmp_path / "store.db"
    await filled(path)
    damage(path)
    with pytest.raises(CorruptStoreError) as caught:
        await Database.open(f"sqlite:///{path}", SCHEMA)
    assert f"the store {path} is damaged" in caught.value.message
    assert f"mv {path} {path}.damaged" in caught.value.message


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "store.db"
    path.write_bytes(b"a letter to somebody" * 1000)
    with pytest.raises(CorruptStoreError, match="not a database"):
        await Database.open(f"sqlite:///{path}", SCHEMA)
    assert path.read_bytes().startswith(b"a letter")


def test_a_log_whose_index_cannot_grow_is_a_full_disk(tmp_path):
    backend = SqliteBackend(tmp_path / "store.db")
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
    assert backend.is_full(error)
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
    assert not backend.is_full(error)
    backend.close()


async def test_the_full_check_finds_damage_and_nothing_where_there_is_none(tmp_path):
    path = tmp_path / "store.db"
    await filled(path)
    assert integrity_problems(path) == []
    damage(path)
    assert integrity_problems(path)
    assert integrity_problems(tmp_path / "missing.db") == ["unable to open database file"]


async def test_the_full_check_works_beside_a_running_store(tmp_path):
    path = tmp_path / "store.db"
    database = await Database.open(f"sqlite:///{path}", SCHEMA)
    await database.write(add(1))
    assert integrity_problems(path) == []
    await database.close()


async def test_a_disk_that_fails_at_the_commit_ends_the_process(tmp_path):
    path = tmp_path / "store.db"
    await filled(path, rows=1)
    command = [sys.executable, "-c", FILL, f"sqlite:///{path}"]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (EXIT_STORE_FAILED, b"writing\n"), done.stderr.decode()
    database = await Database.open(f"sqlite:///{path}", SCHEMA)
    assert await database.read(numbers) == [0]
    await database.close()
