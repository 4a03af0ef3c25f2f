"""SQLite underneath a store: one connection, used where it is called, durable at each commit.

SQLAlchemy is put on top of the connection when somebody asks for it: its import alone takes a third
of the time in which a platform starts, and what a start needs goes by the driver.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from gridloom_services.common.cursor import SqliteCursor
from gridloom_services.common.errors import CorruptStoreError, StartError

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection, Engine

    from gridloom_services.common.cursor import Cursor

MIB = 1 << 20
DEFAULT_WAL_BYTES = 4 * MIB

# A larger store is not read through at each start; `gridloom doctor` does that.
CHECKED_BYTES = 32 * MIB

_BUSY_TIMEOUT_S = 10
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class SqliteBackend:
    """One file, one connection, used on the thread that calls."""

    is_inline = True

    def __init__(self, path: Path, wal_bytes: int = DEFAULT_WAL_BYTES) -> None:
        """Open the file, which is made if it is missing.

        CorruptStoreError if it is damaged, StartError if it cannot be read or written.
        """
        self.name = str(path)
        self._path = path
        self._wal_bytes = wal_bytes
        self._engine: Engine | None = None
        self._connection: Connection | None = None
        try:
            self.raw = _connected(path)
        except sqlite3.Error as error:
            raise _start_error(error, path) from error
        try:
            _configure(self.raw, wal_bytes)
            _refuse_damaged(self.raw, path)
        except sqlite3.Error as error:
            self.raw.close()
            raise _start_error(error, path) from error
        except CorruptStoreError:
            self.raw.close()
            raise

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's, on our connection."""
        if self._engine is None:
            self._engine = _engine(self.raw)
        return self._engine

    def connection(self) -> Connection:
        """SQLAlchemy's view of the one connection."""
        if self._connection is None:
            self._connection = self.engine.connect()
        return self._connection

    def cursor(self) -> Cursor:
        """The driver's view of it."""
        return SqliteCursor(self.raw)

    def warm(self) -> None:
        """Once, after the schema is right and before the first commits that are waited for."""
        # Not before: a migration may rebuild a table, which removes the old one with its rows.
        self.raw.execute("PRAGMA foreign_keys = ON").close()
        grow_wal(self._path, self._wal_bytes)

    def close(self) -> None:
        """Close it; the write-ahead log is folded into the file."""
        if self._connection is not None:
            self._connection.close()
        self.raw.close()

    def command(self, sql: str) -> None:
        """By the driver: a savepoint around each of many small works must cost little."""
        self.raw.execute(sql).close()

    def has_transaction(self) -> bool:
        """Whether one is open. SQLite ends it by itself after some errors."""
        return self.raw.in_transaction

    def is_full(self, error: BaseException | None) -> bool:
        """The disk (or the file, where it is limited) is full."""
        return _is_full(error)

    def is_damaged(self, error: BaseException | None) -> bool:
        """The file is no sound database."""
        return _code(error) in _DAMAGED

    def is_lost(self, error: BaseException | None) -> bool:
        """There is no server that could be gone."""
        del error
        return False


def grow_wal(path: Path, wal_bytes: int) -> None:
    """Give the write-ahead log its full length once, so that commits overwrite and never extend.

    An overwriting fsync costs half of an extending one. Zeros behind the last frame are to SQLite
    what the frames of an earlier round are: no valid frame. Nothing may be written meanwhile.
    """
    log = path.with_name(path.name + "-wal")
    try:
        length = log.stat().st_size
    except FileNotFoundError:
        return
    missing = wal_bytes + MIB - length
    if missing <= 0:
        return
    with log.open("r+b") as file:
        file.seek(length)
        for start in range(0, missing, MIB):
            file.write(bytes(min(MIB, missing - start)))
        file.flush()
        os.fdatasync(file.fileno())


def integrity_problems(path: Path) -> list[str]:
    """What a full check of the file finds; empty if it is sound. Works beside a running service."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
    except sqlite3.Error as error:
        return [str(error)]
    return [] if found == ["ok"] else found


def _code(error: BaseException | None) -> int:
    """The primary error code; the extended one has it in its low byte."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _is_full(error: BaseException | None) -> bool:
    """No room for the file or its log; or for the index of the log, which then is as it was.

    SQLite says of the index only that its file could not be made longer; nothing else than a full
    disk is known to cause that, and a commit that fails there has not taken place.
    """
    extended = getattr(error, "sqlite_errorcode", 0)
    return extended & 0xFF == sqlite3.SQLITE_FULL or extended == sqlite3.SQLITE_IOERR_SHMSIZE


def _connected(path: Path) -> sqlite3.Connection:
    """Transactions begin and end where we say so, not where the driver guesses."""
    return sqlite3.connect(
        path,
        check_same_thread=False,
        isolation_level=None,
        timeout=_BUSY_TIMEOUT_S,
        cached_statements=512,
    )


def _engine(raw: sqlite3.Connection) -> Engine:
    from sqlalchemy import create_engine, event
    from sqlalchemy.pool import StaticPool

    engine = create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool)
    event.listen(engine, "begin", _begin_immediate)
    return engine


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _configure(connection: sqlite3.Connection, wal_bytes: int) -> None:
    pages = wal_bytes // 4096
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        f"wal_autocheckpoint = {pages}",
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _refuse_damaged(connection: sqlite3.Connection, path: Path) -> None:
    if path.stat().st_size > CHECKED_BYTES:
        return
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise _damaged(path, str(found))


def _start_error(error: sqlite3.Error, path: Path) -> StartError:
    if _code(error) in _DAMAGED:
        return _damaged(path, str(error))
    if _is_full(error):
        return StartError(f"the store {path} cannot be opened, the disk is full: make room there")
    return StartError(f"the store {path} cannot be opened: {error}")


def _damaged(path: Path, found: str) -> CorruptStoreError:
    return CorruptStoreError(
        f"the store {path} is damaged ({found}): put a backup in its place, or move it away"
        f" (mv {path} {path}.damaged) to begin with an empty one"
    )
