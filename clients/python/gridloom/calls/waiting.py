"""What a wait does besides waiting: inside a call it gives back the slot, elsewhere Ctrl-C."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from gridloom.interrupt import leaving_it_running

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager


def waiting_in_worker() -> AbstractContextManager[object]:
    """Inside a call, give its slot back for the time of a wait; elsewhere nothing."""
    if not _is_in_call():
        return contextlib.nullcontext()
    waiting: AbstractContextManager[object] = sys.modules["gridloom.worker.context"].waiting()
    return waiting


def _is_in_call() -> bool:
    context = sys.modules.get("gridloom.worker.context")
    return context is not None and context.current_call() is not None


def left_running(
    what: str, identifier: str, cancel: Callable[[], object]
) -> AbstractContextManager[object]:
    """Outside of calls, Ctrl-C leaves the work running and says how to come back to it."""
    if _is_in_call():
        return contextlib.nullcontext()
    return leaving_it_running(what, f'client.get("{identifier}")', cancel)


def attended(
    what: str, identifier: str, cancel: Callable[[], object]
) -> AbstractContextManager[object]:
    """Around a wait of a user's: inside a call as above; else Ctrl-C leaves the work running."""
    return waiting_in_worker() if _is_in_call() else left_running(what, identifier, cancel)
