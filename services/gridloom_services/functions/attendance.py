"""Whether the client that was to send the rest of a group is still to be expected.

Nothing of this is kept: a client that comes back goes on as if it had not been away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom_services.common.errors import IncompleteError
from gridloom_services.functions.call import group_id, split_stored_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom_services.functions.session import Session
    from gridloom_services.functions.store.rows import GroupRow


class Attendance:
    """Counts from the end of a client's stream; from the service's own start if that was later."""

    def __init__(self, patience_s: float, clock: Callable[[], float]) -> None:
        """`clock` tells seconds since 1970: what was seen last is read from the store."""
        self._patience_s = patience_s
        self._clock = clock
        self._begun_at = clock()

    def begin(self) -> None:
        """The service serves from now on."""
        self._begun_at = self._clock()

    def awaited_s(self, session: Session) -> float | None:
        """How much longer its client is waited for; 0: no longer; None: it is there."""
        if session.delivery.attached:
            return None
        away_s = self._clock() - max(session.seen_at, self._begun_at)
        return max(self._patience_s - away_s, 0.0)

    def is_abandoned(self, session: Session, row: GroupRow) -> bool:
        """Whether the rest of a group is not to be expected."""
        return not row.sealed and self.awaited_s(session) == 0

    def reason(self, session: Session, row: GroupRow) -> str:
        """One sentence about a group that was abandoned; else empty."""
        if not self.is_abandoned(session, row):
            return ""
        return (
            f"the client that fed {_id_of(session, row)} went away before it had sent everything:"
            f" {row.accepted:,} items were accepted, {row.finished:,} of them are done; it goes on"
            " should that client come back, else submit the rest again"
        )

    def check(self, session: Session, row: GroupRow) -> None:
        """IncompleteError where all that will be of a group is there, and that is not all."""
        if row.finished >= row.accepted and self.is_abandoned(session, row):
            raise IncompleteError(
                self.reason(session, row),
                group_id=_id_of(session, row),
                accepted=row.accepted,
                done=row.finished,
            )


def _id_of(session: Session, row: GroupRow) -> str:
    return group_id(session.name, split_stored_id(row.id)[1])
