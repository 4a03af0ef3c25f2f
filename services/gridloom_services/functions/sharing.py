"""Looks for idle workers beside busy ones, while there are any."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gridloom_services.functions.dispatch.sharing import SILENT_S, ask_back, may_share

if TYPE_CHECKING:
    from gridloom_services.functions.dispatch import PoolQueue
    from gridloom_services.functions.endings import Interrupter


class Sharing:
    """One timer for all pools; it runs only while a look may be worth it."""

    def __init__(self, interrupter: Interrupter) -> None:
        self._interrupter = interrupter
        self._pools: set[PoolQueue] = set()
        self._timer: asyncio.TimerHandle | None = None

    def pumped(self, pool: PoolQueue) -> None:
        """A pool was dispatched to."""
        if pool not in self._pools and may_share(pool):
            self._pools.add(pool)
            self._set_timer()

    def close(self) -> None:
        """No more looks."""
        if self._timer is not None:
            self._timer.cancel()

    def _set_timer(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SILENT_S, self._look)

    def _look(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for pool in list(self._pools):
            if not may_share(pool):
                self._pools.discard(pool)
                continue
            for notice in ask_back(pool, now):
                self._interrupter.interrupt(notice, running=False, grace_ms=0)
        if self._pools:
            self._set_timer()
