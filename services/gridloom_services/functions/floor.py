"""Between pools and dispatch: what waits for a pool, who works for it, and what cannot be."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gridloom_services.common.errors import (
    ConflictError,
    GridloomServiceError,
    PermissionDeniedError,
    VersionMismatchError,
)
from gridloom_services.functions import failures
from gridloom_services.functions.dispatch import Ending
from gridloom_services.functions.pools.sizing import PoolLoad
from gridloom_services.functions.pools.spec import PoolState

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from gridloom_services.functions.call import Failure
    from gridloom_services.functions.dispatch import Held, PoolQueue
    from gridloom_services.functions.endings import Endings
    from gridloom_services.functions.pools.pool import Pool
    from gridloom_services.functions.pools.pools import Pools
    from gridloom_services.functions.pools.spec import PoolSpec
    from gridloom_services.functions.session import Session
    from gridloom_services.functions.store.rows import PoolRow
    from gridloom_services.functions.workers.hub import WorkerHub


_GROWTH = 1.2
"""The pools look again when this much more waits than at their last look."""


class Floor:
    """Where pools and calls meet. Tells each side what it must know of the other."""

    def __init__(
        self,
        held: Held,
        endings: Endings,
        encode: Callable[[Failure], bytes],
        clock: Callable[[], float],
        spawn: Callable[[Coroutine[None, None, None]], object],
    ) -> None:
        """`clock` is the one by which workers' idle times are told; `spawn` runs a coroutine."""
        self._held = held
        self._endings = endings
        self._encode = encode
        self._clock = clock
        self._spawn = spawn
        self._pythons: dict[str, str] = {}
        self._told: dict[str, int] = {}
        self._active: set[str] = set()
        self.pools: Pools
        self.hub: WorkerHub
        self.save: Callable[[PoolRow], None]
        """Has a pool's row written with the next commit."""
        self.changed: Callable[[], None]

    # ---- what pools ask (`PoolFloor`)

    def load(self, pool_id: str) -> PoolLoad:
        """What waits, what runs, and who is idle."""
        queue = self._held.pool(pool_id)
        shift = time.time() - self._clock()
        workers = [worker for worker in queue.workers.values() if not worker.draining]
        idle = tuple(worker.idle_since + shift for worker in workers if not worker.leases)
        return PoolLoad(queue.demand, queue.running, len(workers), idle)

    def drain(self, pool_id: str) -> bool:
        """Tell the pool's hosts to end when their workers have finished; False: none is here."""
        return self.hub.drain(pool_id)

    def cancel_calls(self, pool_id: str, reason: str) -> None:
        """The pool was closed: what waits for it is cancelled."""
        self._end_calls(pool_id, failures.pool_closed(reason))

    def refuse_calls(self, pool_id: str, error: GridloomServiceError) -> None:
        """No worker will ever come: what waits for the pool ends with this error."""
        self._end_calls(pool_id, failures.of_error(error))

    def _end_calls(self, pool_id: str, failure: Failure) -> None:
        ending = Ending(failure.status, self._encode(failure))
        for lane in list(self._held.pool(pool_id).lanes):
            self._endings.end_lane(lane, ending)
        self.changed()

    # ---- what processes of pools ask and tell (`PoolRegister`)

    def admits(self, pool_id: str, python: str) -> None:
        """Raise ConflictError or NotFoundError where the pool has no use for the process."""
        pool = self.pools.get(pool_id)
        if pool.state in {PoolState.CLOSED, PoolState.BROKEN}:
            raise ConflictError(f"pool {pool_id} is {pool.state.name.lower()}")
        wanted = pool.spec.python_version
        if python and wanted and python != wanted:
            reason = f"its workers run Python {python}, its specification says {wanted}"
            self.broke(pool_id, reason)
            raise ConflictError(f"pool {pool_id}: {reason}")
        if python:
            self._pythons[pool_id] = python

    def job_of(self, pool_id: str) -> str:
        """The pool's present job; empty where that is not known (yet)."""
        pool = self.pools.find(pool_id)
        return pool.row.job_id if pool is not None else ""

    def is_draining(self, pool_id: str) -> bool:
        """Whether the processes of its present job were told to end."""
        pool = self.pools.find(pool_id)
        return pool is not None and pool.is_draining

    def worker_joined(self, pool_id: str) -> None:
        """A worker is ready."""
        self.pools.worker_joined(pool_id)

    def worker_left(self, pool_id: str) -> None:
        """A worker is gone."""
        self.pools.changed(pool_id)

    def broke(self, pool_id: str, reason: str) -> None:
        """Its workers cannot be made."""
        self._spawn(self.pools.broke(pool_id, reason))

    # ---- what the intake asks (`Places`)

    def place(self, session: Session, pool_id: str, spec: PoolSpec | None) -> str:
        """The pool for calls that name one, or that ask for one of a kind.

        NotFoundError, PermissionDeniedError or InvalidRequestError where there can be none.
        """
        if pool_id:
            pool = self.pools.get(pool_id)
            if pool.row.project != session.project:
                raise PermissionDeniedError(
                    f'pool {pool_id} belongs to another project than "{session.project}"',
                    field="pool_id",
                    given=pool_id,
                )
            return pool_id
        assert spec is not None
        pool, is_new = self.pools.shared(spec, session.owner)
        if is_new:
            self.save(pool.row)
        return pool.id

    def refusal(self, pool_id: str, python: str) -> Failure | None:
        """Why calls of a client of this Python cannot go to a pool, if so."""
        pool = self.pools.find(pool_id)
        if pool is None:
            return failures.refused("NotFoundError", f"pool {pool_id} does not exist")
        if not pool.state.is_open:
            return _closed(pool)
        error = self._python_error(pool, python)
        return None if error is None else failures.of_error(error)

    def _python_error(self, pool: Pool, python: str) -> GridloomServiceError | None:
        """Code pickled by one minor version is not for another to run."""
        present = pool.spec.python_version or self._pythons.get(pool.id, "")
        if not (python and present) or python == present:
            return None
        return VersionMismatchError(
            f"the client runs Python {python}, the workers of pool {pool.id} {present}: functions"
            " travel only between equal minor versions",
            field="python",
            given=python,
            allowed=present,
        )

    # ---- after each pass

    def pumped(self, queue: PoolQueue) -> None:
        """A pool was dispatched to: when more work waits than before, it may want to grow."""
        self._active.add(queue.id)
        if not queue.waits() and queue.workers:
            self._told.pop(queue.id, None)
            return
        demand = queue.demand
        if demand > self._told.get(queue.id, 0) * _GROWTH:
            self._told[queue.id] = demand
            self.pools.changed(queue.id)

    def tick(self) -> None:
        """Once in a while: pools in which something happened may have idle workers."""
        active, self._active = self._active, set()
        for pool_id in active:
            self.pools.changed(pool_id)


def _closed(pool: Pool) -> Failure:
    if pool.state is PoolState.BROKEN:
        return failures.of_error(pool.broken_by)
    return failures.refused("ConflictError", f"pool {pool.id} is closed", field="pool_id")
