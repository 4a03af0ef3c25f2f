"""The words for what a call, a pool or a group is doing."""

from __future__ import annotations

from enum import StrEnum


class CallState(StrEnum):
    """Where a call is in its life."""

    BLOCKED = "BLOCKED"
    """It waits for other calls."""
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_final(self) -> bool:
        """It will not change any more."""
        return self in {CallState.SUCCEEDED, CallState.FAILED, CallState.CANCELLED}


class PoolState(StrEnum):
    """What a pool is doing."""

    IDLE = "IDLE"
    """No worker yet or any more; starts with the next call."""
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    CLOSING = "CLOSING"
    CLOSED = "CLOSED"
    BROKEN = "BROKEN"
    """Its workers cannot start."""
