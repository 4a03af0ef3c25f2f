"""How many workers a pool should have. Pure: what is known goes in, a number comes out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom_services.functions.pools.spec import PoolSpec


@dataclass(frozen=True, slots=True)
class PoolLoad:
    """What dispatch knows of a pool: positions (calls, or items of chunks) and workers.

    `idle_since` holds, for each worker with nothing to do, when that began (seconds).
    """

    waiting: int = 0
    running: int = 0
    workers: int = 0
    idle_since: tuple[float, ...] = ()

    @property
    def busy(self) -> int:
        """Workers that hold calls."""
        return self.workers - len(self.idle_since)


@dataclass(frozen=True, slots=True)
class Demand:
    """What the scheduler says: jobs of others that wait for resources, and how large it all is.

    `waiting_pools` are the jobs of pools that wait so: to another pool they are others.
    """

    waiting_jobs: int = 0
    capacity: Mapping[str, int] | None = None
    waiting_pools: frozenset[str] = frozenset()

    def beside(self, job_id: str) -> Demand:
        """As it is for the pool with this job."""
        others = len(self.waiting_pools - {job_id})
        return replace(self, waiting_jobs=self.waiting_jobs + others) if others else self


@dataclass(frozen=True, slots=True)
class Sizing:
    """How many workers there should be, and when to think again where nothing else happens."""

    workers: int
    look_again_at: float | None = None


def most_workers(spec: PoolSpec, demand: Demand, default: int = 0) -> int:
    """The largest size of a pool: asked for, or what the whole platform has room for."""
    if spec.workers:
        return spec.workers
    if default:
        return max(default, spec.min_workers)
    capacity = demand.capacity or {}
    room = [
        capacity.get(name, 0) // amount for name, amount in spec.resources.items() if amount > 0
    ]
    return max(min(room, default=1), spec.min_workers, 1)


def sizing(spec: PoolSpec, load: PoolLoad, demand: Demand, now: float, most: int) -> Sizing:
    """Decide.

    With work, there are as many workers as it can use. Idle workers stay for the pool's idle
    time, so that the next call finds them warm; they leave at once while jobs of others wait.
    """
    needed = -(-(load.waiting + load.running) // spec.slots)
    floor = 0 if demand.waiting_jobs else spec.min_workers
    if load.waiting:
        return Sizing(max(min(needed, most), min(load.workers, most), floor))
    if demand.waiting_jobs:
        return Sizing(max(load.busy, floor))
    leaves_at = sorted(since + spec.idle_timeout_s for since in load.idle_since)
    spent = sum(at <= now for at in leaves_at)
    kept = max(load.workers - spent, floor)
    following = leaves_at[spent] if spent < len(leaves_at) and kept > floor else None
    return Sizing(min(kept, most) if load.workers else floor, following)
