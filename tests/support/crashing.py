"""A store and a runtime whose scheduler dies at a chosen step: just before it, or just after."""

from __future__ import annotations

import inspect
from typing import Any

# What changes something outside of the scheduler's memory.
_STEPS = frozenset(
    {
        *("write", "compact", "prune", "cleared", "release", "remove"),
        *("start", "resize", "stop", "forget", "keep_logs", "keep_streams"),
    }
)


class Crash(BaseException):
    """The scheduler's process is no more. No handler of errors may hold it up."""


class Fate:
    """Counts steps; after `left` of them (each has a moment before and one after) it is over."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.is_over = False

    def moment(self) -> None:
        """Pass, or die."""
        if self.left is not None and not self.is_over:
            self.is_over = self.left == 0
            self.left -= 1
        if self.is_over:
            raise Crash

    def check(self) -> None:
        """The dead do nothing."""
        if self.is_over:
            raise Crash


class Crashing:
    """Does what the part behind it does, as long as fate allows."""

    def __init__(self, behind: Any, fate: Fate) -> None:
        self._behind = behind
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._behind, name)
        if not inspect.iscoroutinefunction(found):
            return found
        changes = name in _STEPS

        async def step(*args: Any, **kwargs: Any) -> Any:
            (self._fate.moment if changes else self._fate.check)()
            result = await found(*args, **kwargs)
            (self._fate.moment if changes else self._fate.check)()
            return result

        return step
