"""Finished jobs go by age and by number, in the background and in small steps.

A job goes from the database first, which notes in the same transaction that something of it is
left: its logs and what it holds in the object store go next, and are gone for before the note is.
So a crash at any moment leaves nothing behind for ever, and shows no job whose logs are gone.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from gridloom_services.common.errors import GridloomServiceError
from gridloom_services.scheduler.archive import logs_holder
from gridloom_services.scheduler.clock import SECOND_US, now_us
from gridloom_services.scheduler.inputs import inputs_holder

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom_services.scheduler.clock import Clock
    from gridloom_services.scheduler.store.base import Store

STEP_ROWS = 64
"""Few enough that nobody waits noticeably behind a step."""

LEAST_AGE_S = 600.0
"""Logs of what has just ended are still being taken over."""

_BETWEEN_STEPS_S = 0.01

_log = logging.getLogger(__name__)


class Releaser(Protocol):
    """Who has the objects."""

    async def release(self, holder: str) -> None:
        """Let go of everything that `holder` keeps."""


class LogFolders(Protocol):
    """Who has the logs on this machine."""

    async def remove(self, job_id: str) -> None:
        """Remove a job's; none there: nothing happens."""


async def forget_history(store: Store, before_us: int) -> None:
    """Let go of the events of all jobs that ended before then, some at a time."""
    place = await store.compact(before_us, STEP_ROWS)
    while place is not None:
        await asyncio.sleep(_BETWEEN_STEPS_S)
        place = await store.compact(before_us, STEP_ROWS, place)


class Retention:
    """Keeps the newest `most` finished jobs, and none of them longer than `keep_s`."""

    def __init__(
        self,
        store: Store,
        objects: Releaser,
        logs: LogFolders,
        clock: Clock,
        awaited: Callable[[], frozenset[str]],
        *,
        keep_s: float,
        most: int,
    ) -> None:
        """`awaited`: jobs that must stay because others wait for them."""
        self._store = store
        self._objects = objects
        self._logs = logs
        self._clock = clock
        self._awaited = awaited
        self._keep_s = max(keep_s, LEAST_AGE_S)
        self._most = most

    async def sweep(self) -> None:
        """Remove all that is old now. What cannot be let go now goes with the next sweep."""
        try:
            await self._clear()
            before_us = await self._horizon()
            while await self._store.prune(before_us, STEP_ROWS, self._awaited()):
                await self._clear()
                await asyncio.sleep(_BETWEEN_STEPS_S)
        except GridloomServiceError as error:
            _log.warning("old jobs were not removed: %s", error.message)

    async def _horizon(self) -> int:
        now = now_us(self._clock)
        before_us = now - round(self._keep_s * SECOND_US)
        latest_us = now - round(LEAST_AGE_S * SECOND_US)
        return min(await self._store.horizon(before_us, self._most), latest_us)

    async def _clear(self) -> None:
        """Let go of what jobs that are gone have left."""
        while left := await self._store.leavings(STEP_ROWS):
            for job_id in left:
                for holder in (job_id, logs_holder(job_id), inputs_holder(job_id)):
                    await self._objects.release(holder)
                await self._logs.remove(job_id)
            await self._store.cleared(left)
