"""What tells that a worker is ready for a function: it has opened it, with all that it imports."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from gridloom.calls.composed import Composed
from gridloom.worker.measuring import processors

if TYPE_CHECKING:
    from collections.abc import Callable


class Ready(Composed):
    """Stays for a moment in the worker that has opened the function, and does not call it."""

    def __call__(self, stay_s: float) -> dict[str, Any]:
        """Where that is: each worker's answer is another one's."""
        time.sleep(stay_s)
        return _here()


class ReadyAsync(Composed):
    """The same for an `async def` function."""

    async def __call__(self, stay_s: float) -> dict[str, Any]:
        """Where that is."""
        await asyncio.sleep(stay_s)
        return _here()


def _here() -> dict[str, Any]:
    here = processors()
    return {**here, "worker": f"{here['host']}:{os.getpid()}:{threading.get_ident()}"}


def ready(function: Callable[..., Any]) -> Composed:
    """What to call in a worker, to know that the function is open there."""
    return (ReadyAsync if inspect.iscoroutinefunction(function) else Ready)(function)
