"""Where a service's rows live: the same code on SQLite (embedded) and PostgreSQL (served).

    database = await Database.open(url, SCHEMA)
    job = await database.run(lambda cursor: cursor.one("SELECT * FROM jobs WHERE id = ?", job_id))
    job = await database.read(lambda connection: find(connection, job_id))
    await database.write(lambda connection: connection.execute(insert(jobs).values(...)))
    commits = GroupCommit(database)
    job = await commits.submit(lambda cursor: accept(cursor, spec))

A function that is given to `run` or `submit` takes a `Cursor`, one that is given to `read` or
`write` a SQLAlchemy connection. It runs in one transaction and must be quick: on SQLite it runs on
the event loop, without a thread in between (a hand-over costs more than the statement), on
PostgreSQL in the store's one thread. So it must not touch what the loop owns. When it returns, its
changes are on disk. What a start and the first work of a service do goes by `run` and `submit`: on
SQLite, SQLAlchemy is imported when it is first asked for.

A commit that fails ends the process: nobody knows what is on disk then, and a restart finds out. A
full disk is the exception: StorageFullError, nothing was changed, and the store goes on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

from gridloom.values import dataclass

from gridloom_services.common import schema as schemas
from gridloom_services.common.cursor import PostgresCursor, SqliteCursor, piped
from gridloom_services.common.errors import (
    StartError,
    StorageFullError,
    StoreInUseError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection, Engine

    from gridloom_services.common.cursor import Cursor
    from gridloom_services.common.schema import Schema

    Batch = list[tuple[Callable[[Cursor], Any], asyncio.Future[Any]]]

T = TypeVar("T")

EXIT_STORE_FAILED = 74

_log = logging.getLogger(__name__)


class Backend(Protocol):
    """What the two databases do differently."""

    is_inline: bool
    name: str

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's."""
        ...

    @property
    def raw(self) -> sqlite3.Connection:
        """The driver's own connection, where it is SQLite's."""
        ...

    def connection(self) -> Connection:
        """The one connection."""
        ...

    def warm(self) -> None:
        """Once, after the schema is right and before the first commits that are waited for."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...

    def command(self, sql: str) -> None:
        """Run a statement without parameters or rows within the transaction."""
        ...

    def has_transaction(self) -> bool:
        """Whether the transaction that was begun is still open after an error."""
        ...

    def is_full(self, error: BaseException | None) -> bool:
        """The disk is full."""
        ...

    def is_damaged(self, error: BaseException | None) -> bool:
        """The file is no sound database."""
        ...

    def is_lost(self, error: BaseException | None) -> bool:
        """The server is gone."""
        ...


def end_process(reason: str) -> NoReturn:
    """End now, without cleaning up: what is in memory may not be on disk."""
    _log.critical("the store failed; ending", extra={"reason": reason})
    logging.shutdown()
    os._exit(EXIT_STORE_FAILED)


class Database:
    """One service's store. All methods belong to one event loop."""

    def __init__(
        self,
        backend: Backend,
        schema: Schema,
        on_failure: Callable[[str], NoReturn] = end_process,
    ) -> None:
        """For `open`."""
        self._backend = backend
        self._schema = schema
        self._on_failure = on_failure
        self._thread = None if backend.is_inline else ThreadPoolExecutor(1, f"{schema.service}-db")

    @classmethod
    async def open(
        cls,
        url: str,
        schema: Schema,
        *,
        wal_bytes: int | None = None,
        sole: bool = False,
        patience_s: float = 0.0,
    ) -> Database:
        """Open, make or migrate the store; with `sole`, as the only process of its service.

        StartError (NewerStoreError, CorruptStoreError) where that cannot be; nothing was changed
        then. `wal_bytes` is the length of SQLite's write-ahead log between checkpoints. The rest is
        for PostgreSQL: `sole` (a file is guarded by the lock of its folder), and `patience_s`, for
        which a server that is not there yet and a predecessor that is still there are waited for.
        """
        backend = await _backend(url, wal_bytes, schema.service if sole else "", patience_s)
        database = cls(backend, schema)
        try:
            if not await database.run(lambda cursor: schemas.is_ready(cursor, schema)):
                await database.write(lambda c: schemas.prepare(c, schema, backend.name))
            await database._run(backend.warm)
        except BaseException:
            await database.close()
            raise
        return database

    @property
    def name(self) -> str:
        """The file, or the URL without its password."""
        return self._backend.name

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's engine, for its events and its dialect."""
        return self._backend.engine

    @property
    def is_sqlite(self) -> bool:
        """It is a file, and functions run on the loop."""
        return self._backend.is_inline

    @property
    def raw(self) -> sqlite3.Connection:
        """SQLite's own connection, for hot statements *within* a function given to `write`.

        TypeError on PostgreSQL.
        """
        return self._backend.raw

    async def run(self, work: Callable[[Cursor], T]) -> T:
        """`write` by the driver's own statements."""
        if self.is_sqlite:
            return self.transact_raw(lambda raw: work(SqliteCursor(raw)))
        return await self.write(lambda connection: work(PostgresCursor(connection)))

    async def run_piped(self, work: Callable[[Cursor], T]) -> T:
        """`run` on PostgreSQL, in two journeys to the server: the statements, and the commit.

        For what looks at no row count: see `cursor.piped`.
        """

        def together(connection: Connection) -> T:
            with piped(connection) as cursor:
                return work(cursor)

        return await self.write(together)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction; its result once that is on disk.

        What `work` raises is raised, and nothing of it remains. On SQLite this never waits.
        """
        return await self._run(self.transact, work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on the committed state."""
        return await self._run(self.transact, work)

    def transact(self, work: Callable[[Connection], T]) -> T:
        """`write` without a loop: on SQLite only, for whoever composes commits by hand."""
        connection = self._connection()
        transaction = connection.begin()
        try:
            result = work(connection)
        except BaseException as error:
            self._undo(connection)
            self._raise_known(error)
            raise
        self._commit(connection, transaction.commit)
        return result

    def transact_raw(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`transact` for the driver's own statements, on SQLite only: it costs a tenth."""
        raw = self.raw
        try:
            raw.execute("BEGIN IMMEDIATE").close()
            result = work(raw)
        except BaseException as error:
            self._undo_raw(raw)
            self._raise_known(error)
            raise
        try:
            raw.execute("COMMIT").close()
        except sqlite3.Error as error:
            if not self._backend.is_full(error):
                self._on_failure(f"commit to {self.name}: {error}")
            self._undo_raw(raw)
            self._raise_known(error)
            raise
        return result

    async def run_each(self, works: Sequence[Callable[[Cursor], Any]]) -> list[Outcome]:
        """Run all in one transaction, each undone alone if it fails; one fsync.

        When it returns, what succeeded is on disk. StorageFullError and UnavailableError are for
        all of them.
        """
        if self.is_sqlite:
            return self.run_each_now(works)
        return await self.write(lambda c: self._each(PostgresCursor(c), works))

    def run_each_now(self, works: Sequence[Callable[[Cursor], Any]]) -> list[Outcome]:
        """`run_each` without a loop, on SQLite only."""
        return self.transact_raw(lambda raw: self._each(SqliteCursor(raw), works))

    async def next_epoch(self) -> int:
        """1 at the first start of the service on this store, one more at each: durable."""
        return await self.run(self._next_epoch)

    async def close(self) -> None:
        """Close the store. Nothing may be under way."""
        await self._run(self._backend.close)
        if self._thread is not None:
            self._thread.shutdown()

    # ---- within the transaction

    def _each(self, cursor: Cursor, works: Sequence[Callable[[Cursor], Any]]) -> list[Outcome]:
        if len(works) == 1:
            return [Outcome(value=works[0](cursor))]  # what it raises undoes the transaction
        return [self._shielded(cursor, work) for work in works]

    def _shielded(self, cursor: Cursor, work: Callable[[Cursor], Any]) -> Outcome:
        self._backend.command("SAVEPOINT gridloom")
        try:
            outcome = Outcome(value=work(cursor))
        except Exception as error:
            if not self._backend.has_transaction() or self._is_for_all(error):
                raise
            self._backend.command("ROLLBACK TO SAVEPOINT gridloom")
            outcome = Outcome(error=error)
        self._backend.command("RELEASE SAVEPOINT gridloom")
        return outcome

    def _next_epoch(self, cursor: Cursor) -> int:
        name = self._schema.epoch_table
        cursor.run(f"CREATE TABLE IF NOT EXISTS {name} (epoch BIGINT NOT NULL)")
        if not cursor.run(f"UPDATE {name} SET epoch = epoch + 1"):  # noqa: S608
            cursor.run(f"INSERT INTO {name} VALUES (1)")  # noqa: S608
        ((epoch,),) = cursor.all(f"SELECT epoch FROM {name}")  # noqa: S608
        return int(epoch)

    # ---- around it

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        if self._thread is None:
            return work(*arguments)
        running = asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
        # A caller that is cancelled leaves; the transaction goes on to its end.
        return await asyncio.shield(running)

    def _connection(self) -> Connection:
        try:
            return self._backend.connection()
        except StoreInUseError as error:
            # Another has taken our place while the server was away.
            self._on_failure(error.message)
        except Exception as error:
            self._raise_known(error)
            raise

    def _commit(self, connection: Connection, commit: Callable[[], None]) -> None:
        try:
            commit()
        except Exception as error:  # noqa: BLE001  # whatever it is, the outcome is not known
            if not self._backend.is_full(_cause(error)):
                self._on_failure(f"commit to {self.name}: {error}")
            self._undo(connection)
            self._raise_known(error)

    def _undo(self, connection: Connection) -> None:
        """Roll back, whatever is left of the transaction."""
        try:
            transaction = connection.get_transaction()
            if transaction is not None:
                transaction.rollback()
        except Exception as error:  # noqa: BLE001  # whatever it is, the outcome is not known
            if not self._backend.is_lost(_cause(error)):
                self._on_failure(f"rollback of {self.name}: {error}")

    def _undo_raw(self, raw: sqlite3.Connection) -> None:
        """The same without SQLAlchemy."""
        try:
            if raw.in_transaction:
                raw.execute("ROLLBACK").close()
        except sqlite3.Error as error:
            self._on_failure(f"rollback of {self.name}: {error}")

    def _is_for_all(self, error: BaseException) -> bool:
        cause = _cause(error)
        backend = self._backend
        return backend.is_full(cause) or backend.is_lost(cause) or backend.is_damaged(cause)

    def _raise_known(self, error: BaseException) -> None:
        """Raise in our words what has a name; return if it has none."""
        cause = _cause(error)
        if self._backend.is_full(cause):
            raise StorageFullError(
                f"the disk under {self.name} is full; nothing was accepted"
            ) from error
        if self._backend.is_lost(cause):
            raise UnavailableError(f"the database {self.name} does not answer") from error
        if self._backend.is_damaged(cause):
            self._on_failure(f"{self.name} is damaged: {cause}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one of several functions in a transaction came to."""

    value: Any = None
    error: Exception | None = None


class GroupCommit:
    """Everything that is submitted in one pass of the loop shares a transaction and an fsync.

    While PostgreSQL's thread commits, what is submitted gathers for the next transaction.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: Batch = []
        self._flusher: asyncio.Task[None] | None = None
        self._is_scheduled = False

    def submit(self, work: Callable[[Cursor], T]) -> asyncio.Future[T]:
        """Run `work` with the next commit. The future is done when its changes are on disk.

        What `work` raises is the future's exception; the rest of the group is not concerned.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.append((work, future))
        if not self._is_scheduled:
            self._is_scheduled = True
            loop.call_soon(self._flush)
        return future

    async def join(self) -> None:
        """Return when everything that was submitted is done."""
        while self._waiting or self._flusher is not None:
            if self._flusher is not None:
                await asyncio.wait([self._flusher])
            else:
                await asyncio.sleep(0)

    def _flush(self) -> None:
        if not self._database.is_sqlite:
            self._flusher = asyncio.get_running_loop().create_task(self._flush_in_thread())
            return
        self._is_scheduled = False
        batch = self._taken()
        try:
            outcomes = self._database.run_each_now([work for work, _ in batch])
        except Exception as error:  # noqa: BLE001  # it is the answer to each of them
            outcomes = [Outcome(error=error)] * len(batch)
        _answer(batch, outcomes)

    async def _flush_in_thread(self) -> None:
        """Until nothing waits; `submit` leaves what comes meanwhile to this task."""
        while batch := self._taken():
            try:
                outcomes = await self._database.run_each([work for work, _ in batch])
            except Exception as error:  # noqa: BLE001  # it is the answer to each of them
                outcomes = [Outcome(error=error)] * len(batch)
            _answer(batch, outcomes)
        self._is_scheduled, self._flusher = False, None

    def _taken(self) -> Batch:
        """What waits, without those whose caller has gone: nobody was promised anything."""
        batch = [(work, future) for work, future in self._waiting if not future.done()]
        self._waiting.clear()
        return batch


def _answer(batch: Batch, outcomes: Sequence[Outcome]) -> None:
    for (_, future), outcome in zip(batch, outcomes, strict=True):
        if future.done():
            continue
        if outcome.error is None:
            future.set_result(outcome.value)
        else:
            future.set_exception(outcome.error)


def _cause(error: BaseException) -> BaseException | None:
    """The driver's own error, without SQLAlchemy's around it."""
    inner = getattr(error, "orig", None)
    return inner if isinstance(inner, BaseException) else error


async def _backend(url: str, wal_bytes: int | None, owner: str, patience_s: float) -> Backend:
    """The backend of a URL; its module is imported when chosen."""
    kind = url.partition(":")[0].partition("+")[0]
    if kind == "sqlite":
        from gridloom_services.common.sqlite import DEFAULT_WAL_BYTES, SqliteBackend

        return SqliteBackend(Path(url.partition(":///")[2]), wal_bytes or DEFAULT_WAL_BYTES)
    if kind == "postgresql":
        from sqlalchemy import make_url

        from gridloom_services.common import postgresql

        return await postgresql.opened(make_url(url), owner, patience_s)
    raise StartError(
        f"{kind} is not a database for Gridloom",
        field="database_url",
        given=kind,
        allowed="sqlite, postgresql",
    )
