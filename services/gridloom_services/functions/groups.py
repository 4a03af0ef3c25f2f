"""Groups: calls that belong together, counted by item, kept for any reader until retention."""

from __future__ import annotations

from gridloom_services.functions.call import CallState, Status
from gridloom_services.functions.store.rows import GroupRow


class Group:
    """One group in memory. Its id is that of session and number together.

    It has ended when it is sealed and every item that was accepted has its result.
    """

    __slots__ = (
        "accepted",
        "cancelled",
        "created_at",
        "ended_at",
        "failed",
        "function",
        "id",
        "kind",
        "name",
        "project",
        "sealed",
        "succeeded",
    )

    def __init__(self, row: GroupRow) -> None:
        self.id = row.id
        self.name = row.name
        self.kind = row.kind
        self.project = row.project
        self.function = row.function
        self.accepted = row.accepted
        self.succeeded = row.succeeded
        self.failed = row.failed
        self.cancelled = row.cancelled
        self.sealed = row.sealed
        self.created_at = row.created_at
        self.ended_at = row.ended_at

    @property
    def finished(self) -> int:
        """Items that have their result."""
        return self.succeeded + self.failed + self.cancelled

    @property
    def state(self) -> CallState:
        """What all of its items together have come to, once it has ended."""
        if self.ended_at is None:
            return CallState.RUNNING
        if self.failed:
            return CallState.FAILED
        return CallState.CANCELLED if self.cancelled else CallState.SUCCEEDED

    def admit(self, items: int) -> int:
        """Count new items. Returns where the first of them stands in the group."""
        offset = self.accepted
        self.accepted += items
        return offset

    def seal(self, now: float) -> None:
        """No more come."""
        self.sealed = True
        self._check_end(now)

    def count(self, statuses: bytes, each: int, now: float) -> None:
        """Items ended: `each` for every status."""
        good = statuses.count(Status.OK)
        cancelled = statuses.count(Status.CANCELLED)
        self.succeeded += good * each
        self.cancelled += cancelled * each
        self.failed += (len(statuses) - good - cancelled) * each
        self._check_end(now)

    def _check_end(self, now: float) -> None:
        if self.sealed and self.finished >= self.accepted and self.ended_at is None:
            self.ended_at = now

    def row(self) -> GroupRow:
        """As the store keeps it."""
        return GroupRow(
            id=self.id,
            name=self.name,
            kind=self.kind,
            project=self.project,
            function=self.function,
            accepted=self.accepted,
            succeeded=self.succeeded,
            failed=self.failed,
            cancelled=self.cancelled,
            sealed=self.sealed,
            created_at=self.created_at,
            ended_at=self.ended_at,
        )
