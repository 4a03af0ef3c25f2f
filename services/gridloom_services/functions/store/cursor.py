"""Statements in a hurry: straight to the driver of either database, within a transaction."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

Row = tuple[Any, ...]


class Cursor(Protocol):
    """Runs statements whose placeholders are question marks."""

    def many(self, sql: str, rows: Sequence[Row]) -> None:
        """Once for each row."""

    def all(self, sql: str, *parameters: Any) -> list[Row]:
        """What a query finds."""

    def one(self, sql: str, *parameters: Any) -> Row | None:
        """The first of it."""


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

    def all(self, sql: str, *parameters: Any) -> list[Row]:
        """What a query finds."""
        found: list[Row] = self._raw.execute(sql, parameters).fetchall()
        return found

    def one(self, sql: str, *parameters: Any) -> Row | None:
        """The first of it. Read to the end: an open query would keep the log from being reset."""
        found = self.all(sql, *parameters)
        return found[0] if found else None


class PostgresCursor:
    """In the store's thread; many rows go out without waiting for each."""

    def __init__(self, connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        self._cursor = driver.cursor()

    def many(self, sql: str, rows: Sequence[Row]) -> None:
        """Once for each row."""
        if rows:
            self._cursor.executemany(_translated(sql), rows)

    def all(self, sql: str, *parameters: Any) -> list[Row]:
        """What a query finds."""
        found: list[Row] = self._cursor.execute(_translated(sql), parameters).fetchall()
        return found

    def one(self, sql: str, *parameters: Any) -> Row | None:
        """The first of it."""
        found: Row | None = self._cursor.execute(_translated(sql), parameters).fetchone()
        return found


@cache
def _translated(sql: str) -> str:
    return sql.replace("?", "%s")
