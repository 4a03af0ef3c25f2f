"""The parts of the call path, put together; what streams and requests work with."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from gridloom_services.common.auth import current_principal, require_project
from gridloom_services.common.errors import (
    GridloomServiceError,
    InvalidRequestError,
    VersionMismatchError,
)
from gridloom_services.functions import wire
from gridloom_services.functions.cycle import Cycle
from gridloom_services.functions.dependencies import Dependencies
from gridloom_services.functions.dispatch import Dispatcher, Held, Outcomes
from gridloom_services.functions.endings import Endings
from gridloom_services.functions.floor import Floor
from gridloom_services.functions.functions import FunctionTable
from gridloom_services.functions.intake import Intake, holder_of
from gridloom_services.functions.ledger import Ledger
from gridloom_services.functions.recalling import Recalling
from gridloom_services.functions.sessions import Sessions
from gridloom_services.functions.store.rows import PoolEventRow
from gridloom_services.functions.workers.answers import Answers
from gridloom_services.functions.workers.hub import WorkerHub

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from gridloom.api.functions.v1 import session_pb2

    from gridloom_services.functions.call import Failure
    from gridloom_services.functions.dispatch import Lane
    from gridloom_services.functions.ledger import Taken
    from gridloom_services.functions.limits import CallLimits
    from gridloom_services.functions.metrics import CallMetrics
    from gridloom_services.functions.session import Session
    from gridloom_services.functions.store.base import CallStore
    from gridloom_services.functions.store.rows import Found, OutputRow, PoolRow
    from gridloom_services.functions.stream import SessionStream


class Desk:
    """Where calls are taken in, kept, handed out and answered. One event loop."""

    def __init__(
        self,
        store: CallStore,
        limits: CallLimits,
        metrics: CallMetrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.limits = limits
        self.metrics = metrics
        self.clock = clock
        self.epoch = 0
        self.streams: dict[int, SessionStream] = {}
        self.bad_functions: dict[bytes, Failure] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pools_told: dict[str, tuple[int, str, str]] = {}
        encode = wire.encode_failure
        self.held = Held()
        self.dependencies = Dependencies()
        self.ledger = Ledger(self.dependencies, clock, wire.error_sentence)
        self.outcomes = Outcomes(self.held, self.ledger, encode)
        self.dispatcher = Dispatcher(self.held, self.outcomes)
        self.recalling = Recalling(self.held, self.outcomes, self.ledger, self.dependencies, encode)
        self.cycle = Cycle(store, self.ledger, self.recalling, self.dispatcher, metrics)
        self.endings = Endings(self.dispatcher, self.recalling, self.dependencies, encode)
        self.sessions = Sessions(store, self.ledger, self.held, clock)
        self.floor = Floor(self.held, self.endings, encode, self.now, self.spawn)
        self.floor.save, self.floor.changed = self.save_pool_soon, self.cycle.poke
        self.intake = Intake(
            self.held,
            self.ledger,
            self.recalling,
            self.dependencies,
            self.floor,
            encode,
            clock,
        )
        self.functions = FunctionTable(
            store.function, self.spawn, self._code_is_here, self._code_is_missing
        )
        self.intake.functions = self.sessions.functions = self.functions

    def make_hub(self) -> WorkerHub:
        """The crew of all pools."""
        answers = Answers(self.dispatcher, self.ledger, self._holder)
        hub = WorkerHub(self.dispatcher, answers, self.floor, self.metrics, lambda: self.epoch)
        hub.changed = self.cycle.poke
        self.floor.hub = self.endings.interrupter = hub
        return hub

    @staticmethod
    def now() -> float:
        """By the clock of dispatch."""
        return asyncio.get_running_loop().time()

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run a coroutine beside everything else."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """No more passes, no tasks."""
        self.cycle.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---- clients

    async def greet(self, hello: session_pb2.Hello | None) -> Session:
        """The session of a client that says hello."""
        if hello is None:
            raise InvalidRequestError("the first message of a session is its hello", field="hello")
        if hello.protocol != wire.PROTOCOL:
            raise VersionMismatchError(
                f"the client speaks protocol {hello.protocol} (gridloom"
                f" {hello.client_version or 'unknown'}), the platform protocol {wire.PROTOCOL}"
                f" (gridloom {self.limits.version}): install the same version on both",
                field="hello.protocol",
                given=hello.protocol,
                allowed=wire.PROTOCOL,
            )
        if self.cycle.trouble is not None:
            raise self.cycle.trouble
        project = require_project(hello.project)
        owner = current_principal().name
        return await self.sessions.open(hello.session_key, project, owner, hello.python)

    def end_streams(self, reason: GridloomServiceError) -> None:
        """Have every client come back later, or elsewhere."""
        for stream in list(self.streams.values()):
            stream.end(reason)

    # ---- after each commit (`Watcher`)

    def committed(self, taken: Taken, found: Found) -> None:
        """Output is told when it is on disk, like everything else."""
        del found
        printed: dict[int, list[OutputRow]] = {}
        for row in taken.changes.outputs:
            printed.setdefault(row.call >> 40, []).append(row)
        for number, rows in printed.items():
            session = self.ledger.sessions.get(number)
            if session is not None:
                session.delivery.print(rows)

    def store_failed(self, error: GridloomServiceError) -> None:
        """Clients learn why nothing is accepted; what they sent is not acknowledged."""
        self.end_streams(error)

    # ---- small links between the parts

    def _code_is_here(self, lane: Lane) -> None:
        self.held.enter(lane)
        self.cycle.poke()

    def _code_is_missing(self, lane: Lane) -> None:
        session = self.ledger.sessions.get(lane.session)
        if session is not None:
            session.missing.add(lane.spec.function)
            session.delivery.wake()

    def _holder(self, lane: Lane, sequence: int) -> str:
        return holder_of(self.ledger.sessions[lane.session], lane, sequence)

    def save_pool_soon(self, row: PoolRow) -> None:
        """Write a pool's row with the next commit."""
        told = (row.state, row.job_id, row.reason)
        if self._pools_told.get(row.id) != told:
            self._pools_told[row.id] = told
            self.ledger.changes.pool_events.append(PoolEventRow(row.id, self.clock(), *told))
        self.ledger.changes.pools.append(row)
        self.cycle.poke()

    async def save_pool(self, row: PoolRow) -> None:
        """Write a pool's row; returns when it is on disk."""
        self.save_pool_soon(row)
        await self.cycle.flushed()
