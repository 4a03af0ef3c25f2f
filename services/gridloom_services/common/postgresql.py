"""PostgreSQL underneath a store: one connection, used by the store's one thread."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from gridloom_services.common.cursor import unpiped
from gridloom_services.common.errors import StartError, StoreInUseError

if TYPE_CHECKING:
    import sqlite3

    from sqlalchemy import URL, Connection

_DISK_FULL = "53100"
_DRIVER = "postgresql+psycopg"
_TRY_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended(:owner, 0))")
_OWNER_PATIENCE_S = 3.0
_OWNER_STEP_S = 0.05
_OPENING_STEP_S = 0.25
_CONNECT_TIMEOUT_S = 5
# A machine that vanishes keeps its owner's lock until the server has missed it: 25 s, not hours.
_WATCHFUL = "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"

_log = logging.getLogger(__name__)


class NotReachableError(StartError):
    """Nobody answers there, or not yet."""


async def opened(url: URL, owner: str, patience_s: float) -> PostgresBackend:
    """Connect as `PostgresBackend` does, and wait for what may change by itself.

    A server that does not answer has `patience_s` to do so; another process of the same owner has
    as long to let go, and never less than a few seconds.
    """
    begin, is_told = time.monotonic(), False
    while True:
        try:
            return await asyncio.to_thread(PostgresBackend, url, owner)
        except (NotReachableError, StoreInUseError) as error:
            is_owned = isinstance(error, StoreInUseError)
            patience = max(patience_s, _OWNER_PATIENCE_S if is_owned else 0)
            if time.monotonic() - begin >= patience:
                raise
            if not is_told:
                _log.info("waiting for the database", extra={"reason": error.message})
            is_told = True
        await asyncio.sleep(_OPENING_STEP_S)


class PostgresBackend:
    """One database of a server; the connection is opened again after the server was away."""

    is_inline = False

    def __init__(self, url: URL, owner: str = "") -> None:
        """Connect; as the only process that does so for this owner, if one is named.

        StartError if the driver is not installed, NotReachableError if nobody answers,
        StoreInUseError if another process is there already.
        """
        self.name = url.render_as_string(hide_password=True)
        self._owner = owner
        try:
            self.engine = create_engine(
                url.set(drivername=_DRIVER), poolclass=StaticPool, connect_args=_arguments(url)
            )
            self._connection = self.engine.connect()
            self._own(self._connection, patience_s=0)
        except ModuleNotFoundError as error:
            raise StartError(
                f"the store {self.name} needs a driver: pip install 'gridloom-platform[postgresql]'"
            ) from error
        except DBAPIError as error:
            raise NotReachableError(
                f"the store {self.name} cannot be reached: {' '.join(str(error.orig).split())}"
            ) from error
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
            # The server may take a moment to see that our last connection has died.
            self._own(self._connection, _OWNER_PATIENCE_S)
        unpiped(self._connection)
        return self._connection

    def _own(self, connection: Connection, patience_s: float) -> None:
        """Take the owner's lock, which the server keeps until the connection ends."""
        deadline = time.monotonic() + patience_s
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


def _arguments(url: URL) -> dict[str, object]:
    """For the driver; what the URL itself says counts."""
    ours = {"connect_timeout": _CONNECT_TIMEOUT_S, "options": _WATCHFUL}
    return {name: value for name, value in ours.items() if name not in url.query}
