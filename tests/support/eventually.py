"""Waiting for what happens elsewhere: in another task, thread or process."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_STEP_S = 0.005
_PATIENCE_S = 60.0


async def eventually(condition: Callable[[], object]) -> None:
    """Return when the condition holds. Patient: a loaded machine must not fail a test."""
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never became true"
        await asyncio.sleep(_STEP_S)


def eventually_now(condition: Callable[[], object]) -> None:
    """The same for a test without a loop."""
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(_STEP_S)
