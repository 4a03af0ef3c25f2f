"""Statements by the driver of either database, within a transaction: nothing compiles them.

The SQL is what both databases understand, with question marks for parameters. For what is easier
said in SQLAlchemy, there are its own connections: see `Database`.
"""

from __future__ import annotations

import contextlib
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection

Row = tuple[Any, ...]


class Cursor(Protocol):
    """Runs statements whose placeholders are question marks."""

    def many(self, sql: str, rows: Sequence[Row]) -> None:
        """Once for each row."""

    def run(self, sql: str, *parameters: Any) -> int:
        """Once; how many rows it has changed."""

    def all(self, sql: str, *parameters: Any) -> list[Row]:
        """What a query finds."""

    def one(self, sql: str, *parameters: Any) -> Row | None:
        """The first of it."""

    def named(self, sql: str, *parameters: Any) -> list[SimpleNamespace]:
        """What a query finds, with attributes named as its columns are."""


class SqliteCursor:
    """On the loop's own connection."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def many(self, sql: str, rows: Sequence[Row]) -> None:
        """Once for each row."""
        if len(rows) == 1:
            self._raw.execute(sql, rows[0])
        elif rows:
            self._raw.executemany(sql, rows)

    def run(self, sql: str, *parameters: Any) -> int:
        """Once; how many rows it has changed."""
        cursor = self._raw.execute(sql, parameters)
        count: int = cursor.rowcount
        cursor.close()
        return count

    def all(self, sql: str, *parameters: Any) -> list[Row]:
        """What a query finds."""
        found: list[Row] = self._raw.execute(sql, parameters).fetchall()
        return found

    def one(self, sql: str, *parameters: Any) -> Row | None:
        """The first of it. Read to the end: an open query would keep the log from being reset."""
        found = self.all(sql, *parameters)
        return found[0] if found else None

    def named(self, sql: str, *parameters: Any) -> list[SimpleNamespace]:
        """What a query finds, with attributes named as its columns are."""
        return _named(self._raw.execute(sql, parameters))


class PostgresCursor:
    """In the store's thread; many rows go out without waiting for each."""

    def __init__(self, connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        self._cursor = driver.cursor()

    def begin(self) -> None:
        """Begin a transaction, where the driver does not."""
        self._cursor.execute("BEGIN")

    def many(self, sql: str, rows: Sequence[Row]) -> None:
        """Once for each row."""
        if len(rows) == 1:  # `executemany` waits for an answer of its own
            self._cursor.execute(_translated(sql), rows[0])
        elif rows:
            self._cursor.executemany(_translated(sql), rows)

    def run(self, sql: str, *parameters: Any) -> int:
        """Once; how many rows it has changed."""
        count: int = self._cursor.execute(_translated(sql), parameters).rowcount
        return count

    def all(self, sql: str, *parameters: Any) -> list[Row]:
        """What a query finds."""
        found: list[Row] = self._cursor.execute(_translated(sql), parameters).fetchall()
        return found

    def one(self, sql: str, *parameters: Any) -> Row | None:
        """The first of it."""
        found: Row | None = self._cursor.execute(_translated(sql), parameters).fetchone()
        return found

    def named(self, sql: str, *parameters: Any) -> list[SimpleNamespace]:
        """What a query finds, with attributes named as its columns are."""
        return _named(self._cursor.execute(_translated(sql), parameters))


@contextlib.contextmanager
def piped(connection: Connection) -> Iterator[PostgresCursor]:
    """A cursor whose statements go out together: only what asks for rows waits for them.

    What fails is raised by a later statement, or at the end. `run` does not know how many rows it
    has changed.
    """
    driver: Any = connection.connection.driver_connection
    # The driver would wait for its own BEGIN. `unpiped` undoes this, when the transaction is over.
    driver.autocommit = True
    with driver.pipeline():
        cursor = PostgresCursor(connection)
        cursor.begin()
        yield cursor


def unpiped(connection: Connection) -> None:
    """Have the driver begin transactions by itself, as it does at first."""
    driver: Any = connection.connection.driver_connection
    if driver.autocommit:
        driver.autocommit = False


def insert(cursor: Cursor, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows, which all have the same columns in the same order."""
    if rows:
        columns = ", ".join(map(quoted, rows[0]))
        statement = f"INSERT INTO {table} ({columns}) VALUES {marks(len(rows[0]))}"  # noqa: S608
        cursor.many(statement, [tuple(row.values()) for row in rows])


def marks(count: int) -> str:
    """Placeholders for so many values: "(?, ?)"."""
    return f"({', '.join('?' * count)})"


def quoted(name: str) -> str:
    """A column's name, which may be a word of SQL."""
    return f'"{name}"'


def _named(cursor: Any) -> list[SimpleNamespace]:
    names = [column[0] for column in cursor.description]
    return [SimpleNamespace(**dict(zip(names, row, strict=True))) for row in cursor.fetchall()]


@cache
def _translated(sql: str) -> str:
    return sql.replace("?", "%s")
