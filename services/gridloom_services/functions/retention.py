"""Removing what is older than it is kept for, in the background and in small steps."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from gridloom_services.common.errors import GridloomServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom_services.functions.holds import Holds
    from gridloom_services.functions.store.base import CallStore

STEP_ROWS = 64
"""Few enough that no call waits noticeably behind a step."""

_BETWEEN_STEPS_S = 0.01

_log = logging.getLogger(__name__)


class Retention:
    """Prunes ended groups and abandoned sessions."""

    def __init__(
        self,
        store: CallStore,
        holds: Holds,
        keep_s: float,
        every_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._holds = holds
        self._keep_s = keep_s
        self._every_s = every_s
        self._clock = clock

    async def run(self) -> None:
        """For as long as the service runs."""
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.sweep()
            except GridloomServiceError as error:
                _log.warning("old calls were not removed: %s", error.message)

    async def sweep(self) -> int:
        """Remove all that is old now. Returns how many rows that were."""
        removed = 0
        before = self._clock() - self._keep_s
        while (pruned := await self._store.prune(before, STEP_ROWS)).removed:
            removed += pruned.removed
            self._holds.add((), pruned.released)
            await asyncio.sleep(_BETWEEN_STEPS_S)
        return removed
