"""The words for what a job is doing, why it waits and of what it failed."""

from __future__ import annotations

from enum import StrEnum

from gridloom.options import check_choice


class JobState(StrEnum):
    """Where a job is in its life."""

    HELD = "HELD"
    QUEUED = "QUEUED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_final(self) -> bool:
        """It will not change any more."""
        return self in FINAL_STATES

    @property
    def is_active(self) -> bool:
        """It occupies resources."""
        return self in {JobState.STARTING, JobState.RUNNING}


FINAL_STATES = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})


class FailureClass(StrEnum):
    """Of what a job failed; retries are counted by it."""

    APPLICATION_ERROR = "APPLICATION_ERROR"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    NODE_LOST = "NODE_LOST"
    IMAGE_NOT_FOUND = "IMAGE_NOT_FOUND"
    TIME_LIMIT = "TIME_LIMIT"
    PREEMPTED = "PREEMPTED"
    CANCELLED = "CANCELLED"
    EVICTED = "EVICTED"
    UNSCHEDULABLE = "UNSCHEDULABLE"


class PendingReason(StrEnum):
    """Why a job waits."""

    NONE = "NONE"
    HELD = "HELD"
    DEPENDENCY = "DEPENDENCY"
    START_AFTER = "START_AFTER"
    RETRY_BACKOFF = "RETRY_BACKOFF"
    QUEUE_CLOSED = "QUEUE_CLOSED"
    QUEUE_QUOTA = "QUEUE_QUOTA"
    PROJECT_QUOTA = "PROJECT_QUOTA"
    ARRAY_LIMIT = "ARRAY_LIMIT"
    RESOURCES = "RESOURCES"
    PRIORITY = "PRIORITY"
    NODES_TOO_SMALL = "NODES_TOO_SMALL"
    NEXT_CYCLE = "NEXT_CYCLE"
    OTHER = "OTHER"
    """A reason that this client does not know yet."""


def state_of(word: str) -> JobState:
    """The state that a user's word means, in any case; an unknown one is refused."""
    check_choice("state", word.upper(), [state.value for state in JobState])
    return JobState(word.upper())
