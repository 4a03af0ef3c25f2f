"""PostgreSQL underneath a store: one connection, used by the store's one thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from gridloom_services.common.errors import StartError

if TYPE_CHECKING:
    import sqlite3

    from sqlalchemy import URL, Connection

_DISK_FULL = "53100"
_DRIVER = "postgresql+psycopg"


class PostgresBackend:
    """One database of a server; the connection is opened again after the server was away."""

    is_inline = False

    def __init__(self, url: URL) -> None:
        """Connect. StartError if the driver is not installed or nobody answers."""
        self.name = url.render_as_string(hide_password=True)
        try:
            self.engine = create_engine(url.set(drivername=_DRIVER), poolclass=StaticPool)
            self._connection = self.engine.connect()
        except ModuleNotFoundError as error:
            raise StartError(
                f"the store {self.name} needs a driver: pip install 'gridloom-platform[postgresql]'"
            ) from error
        except DBAPIError as error:
            raise StartError(f"the store {self.name} cannot be reached: {error.orig}") from error

    @property
    def raw(self) -> sqlite3.Connection:
        """There is none."""
        raise TypeError(f"{self.name} is not an SQLite store")

    def connection(self) -> Connection:
        """The one connection, a new one where the last was lost."""
        if self._connection.invalidated or self._connection.closed:
            self._connection.close()
            self.engine.dispose()
            self._connection = self.engine.connect()
        return self._connection

    def warm(self) -> None:
        """There is nothing to warm."""

    def close(self) -> None:
        """Close it."""
        self._connection.close()
        self.engine.dispose()

    def command(self, sql: str) -> None:
        """By SQLAlchemy."""
        self._connection.exec_driver_sql(sql)

    def has_transaction(self) -> bool:
        """A lost connection has lost its transaction."""
        return not self._connection.invalidated

    def is_full(self, error: BaseException | None) -> bool:
        """The server's disk is full."""
        return getattr(error, "sqlstate", None) == _DISK_FULL

    def is_damaged(self, error: BaseException | None) -> bool:
        """The server looks after its files."""
        del error
        return False

    def is_lost(self, error: BaseException | None) -> bool:
        """The server did not answer, or has ended the connection."""
        import psycopg

        if not isinstance(error, psycopg.OperationalError):
            return False
        return error.sqlstate is None or error.sqlstate[:2] in {"08", "57"}
