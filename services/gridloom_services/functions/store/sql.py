"""The store of calls in tables: on SQLite inline on the loop, on PostgreSQL in one thread."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gridloom_services.common.cursor import SqliteCursor
from gridloom_services.common.errors import GridloomServiceError
from gridloom_services.common.store import Database
from gridloom_services.functions.store import codec, pruning, reading, writing
from gridloom_services.functions.store import statements as sql
from gridloom_services.functions.store.schema import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom_services.common.cursor import Cursor
    from gridloom_services.functions.call import Function
    from gridloom_services.functions.store.base import Done
    from gridloom_services.functions.store.rows import (
        BlockRow,
        CallEventRow,
        Changes,
        EventQuery,
        Found,
        GroupRow,
        OutputQuery,
        OutputRow,
        PoolEventRow,
        Pruned,
        Reads,
        Recovered,
        ResultQuery,
        ResultRow,
        SessionRow,
        SpecRow,
    )

WAL_BYTES = 16 << 20
"""Larger than the default: a flood of calls should not checkpoint at every tenth commit."""

_NEWEST = (1e18, 0)


class SqlCallStore:
    """`CallStore` on a database of either kind."""

    def __init__(self, url: str, *, sole: bool = False, patience_s: float = 0.0) -> None:
        """`sole` and `patience_s` are as in `Database.open`."""
        self._url = url
        self._sole = sole
        self._patience_s = patience_s
        self._database: Database
        self._commits: set[asyncio.Task[None]] = set()

    async def open(self) -> int:
        """Open, make or migrate the tables; count this start."""
        self._database = await Database.open(
            self._url, SCHEMA, wal_bytes=WAL_BYTES, sole=self._sole, patience_s=self._patience_s
        )
        return await self._database.next_epoch()

    async def close(self) -> None:
        """Let go of the database."""
        if self._commits:
            await asyncio.wait(self._commits)
        await self._database.close()

    def commit(self, changes: Changes, reads: Reads, done: Done) -> None:
        """See `CallStore.commit`."""

        def work(cursor: Cursor) -> Found:
            released = writing.write(cursor, changes)
            found = reading.read(cursor, reads)
            found.released = released
            return found

        if not self._database.is_sqlite:
            task = asyncio.get_running_loop().create_task(self._commit_in_thread(work, done))
            self._commits.add(task)
            task.add_done_callback(self._commits.discard)
            return
        try:
            found: Found | GridloomServiceError = self._database.transact_raw(
                lambda raw: work(SqliteCursor(raw))
            )
        except GridloomServiceError as error:
            found = error
        done(found)

    async def _commit_in_thread(self, work: Callable[[Cursor], Found], done: Done) -> None:
        try:
            found: Found | Exception = await self._database.run_piped(work)
        except Exception as error:  # noqa: BLE001  # it belongs to whoever commits
            found = error
        done(found)

    async def recover(self) -> Recovered:
        """What is unfinished."""
        return await self._database.run(reading.recover)

    async def function(self, digest: bytes) -> Function | None:
        """A function's code."""
        row = await self._database.run(lambda cursor: cursor.one(sql.FUNCTION, digest))
        return None if row is None else codec.function_row(row)

    async def functions(self, project: str) -> list[Function]:
        """Those of a project, without their code."""
        rows = await self._database.run(lambda cursor: cursor.all(sql.FUNCTIONS, b"", project))
        return [codec.function_row(row) for row in rows]

    async def session(
        self, *, key: bytes = b"", name: str = "", number: int = 0
    ) -> SessionRow | None:
        """A session by one of these."""
        given: dict[str, bytes | str | int] = {"key": key, "name": name, "number": number}
        column, value = next((name, value) for name, value in given.items() if value)
        query = f"{sql.SESSIONS} WHERE {column} = ?"
        row = await self._database.run(lambda cursor: cursor.one(query, value))
        return None if row is None else codec.session_row(row)

    async def spec(self, session: int, number: int) -> SpecRow | None:
        """A specification."""
        query = f"{sql.SPECS} WHERE session = ? AND number = ?"
        row = await self._database.run(lambda cursor: cursor.one(query, session, number))
        return None if row is None else codec.spec_row(row)

    async def group(self, group_id: int) -> GroupRow | None:
        """A group."""
        row = await self._database.run(
            lambda cursor: cursor.one(f"{sql.GROUPS} WHERE id = ?", group_id)
        )
        return None if row is None else codec.group_row(row)

    async def groups(
        self, project: str, before: tuple[float, int] | None, limit: int
    ) -> list[GroupRow]:
        """Newest first."""
        at, group = before or _NEWEST
        rows = await self._database.run(
            lambda cursor: cursor.all(sql.GROUPS_PAGE, project, at, group, limit)
        )
        return [codec.group_row(row) for row in rows]

    async def results(self, query: ResultQuery) -> list[ResultRow]:
        """Results after a number, in order."""
        return await self._database.run(lambda cursor: reading.results(cursor, query))

    async def block(self, call: int) -> BlockRow | None:
        """The block that holds a call which has not ended."""
        return await self._database.run(lambda cursor: reading.block_of(cursor, call))

    async def outputs(self, query: OutputQuery) -> list[tuple[int, OutputRow]]:
        """What was printed."""
        statement = sql.OUTPUTS_OF_CALL if query.call else sql.OUTPUTS_OF_GROUP
        whose = query.call or query.group
        rows = await self._database.run(
            lambda cursor: cursor.all(statement, whose, query.after, query.limit)
        )
        return [codec.output_row(row) for row in rows]

    async def events(self, query: EventQuery) -> list[tuple[int, CallEventRow | PoolEventRow]]:
        """What became of a call or pool."""
        return await self._database.run(lambda cursor: reading.events(cursor, query))

    async def prune(self, before: float, limit: int) -> Pruned:
        """Remove some of what is older."""
        return await self._database.run(lambda cursor: pruning.prune(cursor, before, limit))
