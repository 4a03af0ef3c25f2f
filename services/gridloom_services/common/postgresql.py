"""PostgreSQL underneath a store: one connection, used by the store's one thread."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from gridloom_services.common.errors import StartError, StoreInUseError

if TYPE_CHECKING:
    import sqlite3

    from sqlalchemy import URL, Connection

_DISK_FULL = "53100"
_DRIVER = "postgresql+psycopg"
_TRY_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended(:owner, 0))")
_OWNER_PATIENCE_S = 3.0
_OWNER_STEP_S = 0.05


class PostgresBackend:
    """One database of a server; the connection is opened again after the server was away."""

    is_inline = False

    def __init__(self, url: URL, owner: str = "") -> None:
        """Connect; as the only process that does so for this owner, if one is named.

        StartError if the driver is not installed or nobody answers, StoreInUseError if another
        process is there already.
        """
        self.name = url.render_as_string(hide_password=True)
        self._owner = owner
        try:
            self.engine = create_engine(url.set(drivername=_DRIVER), poolclass=StaticPool)
            self._connection = self.engine.connect()
            self._own(self._connection)
        except ModuleNotFoundError as error:
            raise StartError(
                f"the store {self.name} needs a driver: pip install 'gridloom-platform[postgresql]'"
            ) from error
        except DBAPIError as error:
            raise StartError(f"the store {self.name} cannot be reached: {error.orig}") from error
        except StoreInUseError:
            self.close()
            raise

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
            self._own(self._connection)
        return self._connection

    def _own(self, connection: Connection) -> None:
        """Take the owner's lock, which the server keeps until the connection ends.

        The server may take a moment to see that the one before has died.
        """
        deadline = time.monotonic() + _OWNER_PATIENCE_S
        while self._owner and not self._is_owned(connection):
            if time.monotonic() > deadline:
                raise StoreInUseError(
                    f"another {self._owner} service works on {self.name}: stop it, or name another"
                    " database",
                    field="database_url",
                )
            time.sleep(_OWNER_STEP_S)

    def _is_owned(self, connection: Connection) -> bool:
        with connection.begin():
            return bool(
                connection.execute(_TRY_LOCK, {"owner": f"gridloom_{self._owner}"}).scalar()
            )

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
