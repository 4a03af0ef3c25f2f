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
    context = sys.modules.get("gridloom.worker.context")
    if context is None or context.current_call() is None:
        return contextlib.nullcontext()
    waiting: AbstractContextManager[object] = context.waiting()
    return waiting


def attended(
    what: str, identifier: str, cancel: Callable[[], object]
) -> AbstractContextManager[object]:
    """Around a wait of a user's: inside a call as above; else Ctrl-C leaves the work running."""
    inside = waiting_in_worker()
    if not isinstance(inside, contextlib.nullcontext):
        return inside
    return leaving_it_running(what, f'client.get("{identifier}")', cancel)
