"""A client's session: how far it came, what it has defined, where its calls wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.values import dataclass

from gridloom_services.functions.delivery import Delivery
from gridloom_services.functions.store.rows import SessionRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom_services.functions.call import CallSpec, Failure
    from gridloom_services.functions.dispatch import Lane
    from gridloom_services.functions.groups import Group


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the calls of a specification are refused, and the group that they would be in."""

    failure: Failure
    group: int = 0


class Session:
    """One session in memory: while its client is connected, or something of it is unfinished."""

    __slots__ = (
        "accepted",
        "acknowledged",
        "confirmed",
        "created_at",
        "delivery",
        "groups",
        "has_holds",
        "has_outputs",
        "is_complete",
        "key",
        "lanes",
        "missing",
        "name",
        "number",
        "owner",
        "project",
        "python",
        "refused",
        "result_number",
        "seen_at",
        "specs",
        "unfinished",
        "watchers",
    )

    def __init__(self, row: SessionRow) -> None:
        self.number = row.number
        self.key = row.key
        self.name = row.name
        self.project = row.project
        self.owner = row.owner
        self.python = row.python
        self.accepted = row.last_sequence
        """Sequence number of the last call that was taken in..."""
        self.acknowledged = row.last_sequence
        """... and of the last that is on disk."""
        self.result_number = row.result_number
        self.confirmed = row.confirmed
        self.created_at = row.created_at
        self.seen_at = row.seen_at
        self.specs: dict[int, CallSpec] = {}
        self.refused: dict[int, Refusal] = {}
        """Specifications that cannot be."""
        self.lanes: dict[int, Lane] = {}
        self.groups: dict[int, Group] = {}
        self.missing: set[bytes] = set()
        """Functions whose code the client should send."""
        self.watchers: set[Callable[[], None]] = set()
        """Told after each commit that concerns the session."""
        self.unfinished = 0
        """Calls and items without a result."""
        self.is_complete = False
        """Memory has all of its groups; the store has no others."""
        self.has_outputs = True
        self.has_holds = True
        """Unless nothing of the kind is known since it began, here."""
        self.delivery = Delivery(row.result_number)

    def row(self) -> SessionRow:
        """As the store keeps it."""
        return SessionRow(
            number=self.number,
            key=self.key,
            name=self.name,
            project=self.project,
            owner=self.owner,
            python=self.python,
            last_sequence=self.accepted,
            result_number=self.result_number,
            confirmed=self.confirmed,
            created_at=self.created_at,
            seen_at=self.seen_at,
        )

    @property
    def is_idle(self) -> bool:
        """Nothing keeps it in memory."""
        return not (self.delivery.attached or self.unfinished or self.watchers)
