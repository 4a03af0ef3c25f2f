"""Work that goes on beside the calls, and does not die of one failure."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

_log = logging.getLogger(__name__)


class Background:
    """The tasks of one app. What fails is logged; nobody has to ask for it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, object], name: str) -> None:
        """Run it once."""
        task = asyncio.create_task(_guarded(work, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def repeat(self, work: Callable[[], Awaitable[object]], every_s: float, name: str) -> None:
        """Run it now, and again `every_s` after each end."""
        self.start(_repeated(work, every_s, name), name)

    async def close(self) -> None:
        """Cancel what still runs, and wait for its end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _repeated(work: Callable[[], Awaitable[object]], every_s: float, name: str) -> None:
    while True:
        await _guarded(work(), name)
        await asyncio.sleep(every_s)


async def _guarded(work: Awaitable[object], name: str) -> None:
    try:
        await work
    except Exception:  # noqa: BLE001  # whatever it is, the next round may do better
        _log.exception("%s failed", name)
