"""A functions service in a process of its own, which dies at a chosen step of its store.

A step is a commit: the process ends just before it, or just after, when nobody has been told of it.
The next life begins on the same folder. The processes are forked from one that has everything
loaded, so that a life costs some ten milliseconds.
"""

from __future__ import annotations

import asyncio
import functools
import multiprocessing
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridloom_services.functions.store.sql import SqlCallStore

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext

    from gridloom_services.functions.store.base import Done
    from gridloom_services.functions.store.rows import Changes, Reads

DIED = 77
_START_S = 60.0


class MortalStore(SqlCallStore):
    """Lets the process live for `left` more moments: there is one before each commit, one after.

    A negative number: for ever. The number may be changed from outside.
    """

    def __init__(self, url: str, left: Any) -> None:
        super().__init__(url)
        self._left = left

    def commit(self, changes: Changes, reads: Reads, done: Done) -> None:
        self._moment()
        super().commit(changes, reads, functools.partial(self._done, done))

    def _done(self, done: Done, found: Any) -> None:
        self._moment()
        done(found)

    def _moment(self) -> None:
        if self._left.value == 0:
            os._exit(DIED)
        if self._left.value > 0:
            self._left.value -= 1


class MortalService:
    """The service, one life after the other."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.lives = 0
        self.address = ""
        self._context = _context()
        self._left = self._context.RawValue("i", -1)
        self._process: Any = None
        self._line: Any = None

    @property
    def is_alive(self) -> bool:
        """False from the moment of its death."""
        return self._process is not None and self._process.exitcode is None

    def dies_after(self, moments: int) -> None:
        """From now on."""
        self._left.value = moments

    def begin(self) -> None:
        """The next life, without a death in sight."""
        self.end()
        self.lives += 1
        self._left.value = -1
        self._line, other = self._context.Pipe()
        self._process = self._context.Process(
            target=_serve, args=(str(self.home), self._left, other)
        )
        self._process.start()
        other.close()
        assert self._line.poll(_START_S), "the service does not start"
        self.address = self._line.recv()

    def end(self) -> None:
        """SIGKILL, where it lives."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._line.close()

    def pool(self) -> tuple[str, str] | None:
        """The pool and the job of it that were asked for, once they were."""
        # It may die over the question.
        try:
            self._line.send(None)
            return self._line.recv()
        except (EOFError, ConnectionError):
            return None


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.crash.mortal", "tests.support.functions"])
    return context


def _serve(home: str, left: Any, line: Any) -> None:
    from gridloom_services.common import grpc_environment

    grpc_environment.prepare()
    asyncio.run(_live(Path(home), left, line))


async def _live(home: Path, left: Any, line: Any) -> None:
    from tests.support.functions import Service

    store = MortalStore(f"sqlite:///{home / 'functions.db'}", left)
    service = await Service(home, store).start()
    line.send(service.address)
    running: set[str] = set()
    while True:
        await asyncio.sleep(0.002)
        for job_id in set(service.jobs.jobs) - running:
            service.runs(job_id)
            running.add(job_id)
        if line.poll():
            line.recv()
            line.send(await _pool_of(store))


async def _pool_of(store: SqlCallStore) -> tuple[str, str] | None:
    """As it is on disk: the twin of the scheduler forgets its jobs with each life."""
    pools = (await store.recover()).pools
    return next(((pool.id, pool.job_id) for pool in pools if pool.job_id), None)
