"""A pool in memory: what is stored of it, and what is known of its job now."""

from __future__ import annotations

import json
from dataclasses import field, replace
from typing import TYPE_CHECKING

from gridloom.values import dataclass

from gridloom_services.common import errors
from gridloom_services.common.errors import PoolBrokenError
from gridloom_services.functions.pools.spec import PoolState

if TYPE_CHECKING:
    from gridloom_services.common.errors import GridloomServiceError
    from gridloom_services.functions.pools.spec import PoolSpec
    from gridloom_services.functions.store.rows import PoolRow

# Jobs of a pool that fail one after the other before any worker comes: then it is broken.
MOST_FAILED_STARTS = 3


@dataclass(slots=True)
class Pool:
    """One pool. Everything but `row` is forgotten at a restart and found out again."""

    row: PoolRow
    spec: PoolSpec
    asked_workers: int = 0
    """What the scheduler was asked for last."""
    job_runs: bool = False
    failed_starts: int = 0
    had_worker: bool = False
    """Since its present job began."""
    is_draining: bool = False
    """Its workers were told to end: for the next call there will be another job."""
    settles_at: float = 0.0
    """Until then its processes may still be on their way back to a service that has started."""
    look_again_at: float | None = None
    retry_at: float = 0.0
    is_acting: bool = False
    acts_again: bool = False

    @property
    def id(self) -> str:
        """Its public id."""
        return self.row.id

    @property
    def state(self) -> PoolState:
        """Where it stands."""
        return PoolState(self.row.state)

    @property
    def reason(self) -> str:
        """Why."""
        return self.row.reason

    def becomes(self, state: PoolState, reason: str = "", *, job_id: str | None = None) -> PoolRow:
        """Change the state. The row is to be stored."""
        job = self.row.job_id if job_id is None else job_id
        self.row = replace(self.row, state=int(state), reason=reason, job_id=job)
        return self.row

    def begins_job(self) -> PoolRow:
        """The next job is about to be asked for: its name is stored before that is done."""
        self.had_worker = self.is_draining = self.job_runs = False
        self.row = replace(self.row, generation=self.row.generation + 1, job_id="")
        return self.becomes(PoolState.STARTING)

    def is_refused(self, error: GridloomServiceError) -> None:
        """The scheduler has refused its job: that is what its calls are answered with."""
        kept = {"kind": type(error).__name__, "details": error.details}
        self.row = replace(self.row, refusal=json.dumps(kept))

    @property
    def broken_by(self) -> GridloomServiceError:
        """What calls are told that come to it, or wait for it, when it is broken."""
        if self.row.refusal:
            return _refusal(self.row.refusal, self.reason)
        return PoolBrokenError(f"pool {self.id} is broken: {self.reason}")

    @property
    def request_id(self) -> str:
        """Names the present job whatever crashes between: asked again, it is the same job."""
        return f"{self.id}-{self.row.generation}"


def _refusal(kept: str, message: str) -> GridloomServiceError:
    """The error again that a pool was broken by, maybe before a restart."""
    told = json.loads(kept)
    kind = getattr(errors, told["kind"], PoolBrokenError)
    error: GridloomServiceError = kind(message, **told["details"])
    return error


@dataclass
class PoolIndex:
    """Pools by id, by the key of automatic ones, and by job."""

    by_id: dict[str, Pool] = field(default_factory=dict)
    by_key: dict[str, Pool] = field(default_factory=dict)
    by_request: dict[tuple[str, str], Pool] = field(default_factory=dict)

    def add(self, pool: Pool) -> None:
        """Know it from now on."""
        self.by_id[pool.id] = pool
        if pool.row.key and pool.state.is_open:
            self.by_key[pool.row.key] = pool
        if pool.row.request_id:
            self.by_request[pool.row.project, pool.row.request_id] = pool

    def closed(self, pool: Pool) -> None:
        """It is not shared any more; asked for again, an automatic pool is made anew."""
        if self.by_key.get(pool.row.key) is pool:
            del self.by_key[pool.row.key]

    def of_job(self, job_id: str) -> Pool | None:
        """Whose present job this is."""
        return next((p for p in self.by_id.values() if p.row.job_id == job_id), None)
