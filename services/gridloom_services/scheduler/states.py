"""States of a job, the changes between them that exist, and the classes of failure.

The numbers are those of the API and of the stores: never renumber them.
"""

from __future__ import annotations

import enum


class JobState(enum.IntEnum):
    """Where a job, or one element of an array, is in its life."""

    HELD = 1
    QUEUED = 2
    STARTING = 3
    RUNNING = 4
    SUCCEEDED = 5
    FAILED = 6
    CANCELLED = 7

    @property
    def is_final(self) -> bool:
        """No change can follow."""
        return self >= JobState.SUCCEEDED

    @property
    def is_active(self) -> bool:
        """It holds resources."""
        return self in {JobState.STARTING, JobState.RUNNING}

    @property
    def is_pending(self) -> bool:
        """It waits."""
        return self <= JobState.QUEUED


class FailureClass(enum.IntEnum):
    """Why something failed; retry policy is by class."""

    NONE = 0
    APPLICATION_ERROR = 1
    OUT_OF_MEMORY = 2
    NODE_LOST = 3
    IMAGE_NOT_FOUND = 4
    TIME_LIMIT = 5
    PREEMPTED = 6
    CANCELLED = 7
    EVICTED = 8
    UNSCHEDULABLE = 9

    @property
    def label(self) -> str:
        """The name as people and metrics say it: "out of memory"."""
        return self.name.lower().replace("_", " ")


_OVER = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})

# Which state may follow which. A pending job fails only by its deadline. STARTING ends without
# RUNNING where the work was over before anybody looked. The way back to QUEUED is a retry or a
# preemption.
TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.HELD: frozenset({JobState.QUEUED, JobState.FAILED, JobState.CANCELLED}),
    JobState.QUEUED: frozenset(
        {JobState.HELD, JobState.STARTING, JobState.FAILED, JobState.CANCELLED}
    ),
    JobState.STARTING: frozenset({JobState.QUEUED, JobState.RUNNING}) | _OVER,
    JobState.RUNNING: frozenset({JobState.QUEUED}) | _OVER,
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}


class IllegalTransitionError(Exception):
    """A change that the table does not have: a defect of this program, never of a user's."""


def check_transition(before: JobState, after: JobState) -> None:
    """Return when the table allows the change; raise IllegalTransitionError otherwise."""
    if after not in TRANSITIONS[before]:
        raise IllegalTransitionError(f"a job cannot go from {before.name} to {after.name}")
