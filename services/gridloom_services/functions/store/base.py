"""The store of calls: its interface. One contract suite runs on every implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom_services.functions.call import Function
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

    Done = Callable[[Found | Exception], None]


class CallStore(Protocol):
    """Sessions, calls, results, groups and pools: durable when a commit is done."""

    async def open(self) -> int:
        """Make ready. Returns the epoch: one more at every start."""

    async def close(self) -> None:
        """Let go. No commit is under way."""

    async def recover(self) -> Recovered:
        """Everything that is unfinished, but for the calls themselves: those are read later."""

    def commit(self, changes: Changes, reads: Reads, done: Done) -> None:
        """Write all changes in one transaction, and read in it what is asked.

        `done` is called on the loop, at once where the store works inline, with what was found;
        everything is on disk then. Or with the reason why nothing was written: StorageFullError or
        UnavailableError, after which the same changes may be tried again; another exception is a
        defect. One commit at a time.
        """

    async def function(self, digest: bytes) -> Function | None:
        """A function's code."""

    async def functions(self, project: str) -> list[Function]:
        """Those that a project's sessions have used, without their code."""

    async def session(
        self, *, key: bytes = b"", name: str = "", number: int = 0
    ) -> SessionRow | None:
        """A session that memory does not hold, by one of these."""

    async def spec(self, session: int, number: int) -> SpecRow | None:
        """A specification that memory does not hold."""

    async def group(self, group_id: int) -> GroupRow | None:
        """A group that memory does not hold."""

    async def groups(
        self, project: str, before: tuple[float, int] | None, limit: int
    ) -> list[GroupRow]:
        """Newest first; after the one with this time and id."""

    async def results(self, query: ResultQuery) -> list[ResultRow]:
        """At least one where there is any, then as many as the query's limits allow."""

    async def block(self, call: int) -> BlockRow | None:
        """The block that holds a call which has not ended."""

    async def outputs(self, query: OutputQuery) -> list[tuple[int, OutputRow]]:
        """What was printed, with the number of each piece."""

    async def events(self, query: EventQuery) -> list[tuple[int, CallEventRow | PoolEventRow]]:
        """What became of a call or pool, with the number of each event."""

    async def prune(self, before: float, limit: int) -> Pruned:
        """Remove some of what is older: ended groups, and sessions that were left behind.

        Also results that are kept for their name, and what became of pools.

        Nothing unfinished is removed. Returns what was; nothing: there is no more.
        """
