"""Who waits for resources, and what is free: what elastic work goes by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from gridloom_services.scheduler.control import Control


@dataclass(frozen=True, slots=True)
class Demand:
    """Jobs that wait for what others hold, and what is free of what there is.

    `waiting_own` are those of the asker's own jobs that wait; they do not count among the others.
    """

    waiting_jobs: int
    waiting_own: frozenset[str]
    free: Mapping[str, int]
    capacity: Mapping[str, int]


def demand(control: Control, except_jobs: frozenset[str]) -> Demand:
    """Return how it stands now."""
    engine = control.core.engine
    return Demand(*engine.waiting_apart(except_jobs), engine.free(), engine.capacity())


async def watch_demand(control: Control, except_jobs: frozenset[str]) -> AsyncIterator[Demand]:
    """Yield how it stands, at once and whenever it is different."""
    before = None
    while True:
        beat = control.pulse.event()
        now = demand(control, except_jobs)
        if now != before:
            yield now
        before = now
        await beat.wait()
