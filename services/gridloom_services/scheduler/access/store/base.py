"""What a store of keys, members and the audit log promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gridloom_services.common.audit import AuditEntry
    from gridloom_services.scheduler.access.key import Key, Member

REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which entries; what is empty does not matter."""

    project: str = ""
    actor: str = ""
    # Whole, or its beginning up to a dot: "job.".
    action: str = ""
    object: str = ""
    key_id: str = ""
    # A status; REFUSED: every one but OK.
    result: str = ""
    since_us: int = 0
    until_us: int = 0

    def matches(self, entry: AuditEntry) -> bool:
        """Say whether it is asked for."""
        equal = {"project": self.project, "actor": self.actor, "key_id": self.key_id}
        return (
            all(value in {"", getattr(entry, name)} for name, value in equal.items())
            and self._is_action(entry.action)
            and (not self.object or self.object in entry.objects)
            and self._is_result(entry.result)
            and self.since_us <= entry.at_us
            and (not self.until_us or entry.at_us < self.until_us)
        )

    def _is_action(self, action: str) -> bool:
        if self.action.endswith("."):
            return action.startswith(self.action)
        return self.action in {"", action}

    def _is_result(self, result: str) -> bool:
        return result != "OK" if self.result == REFUSED else self.result in {"", result}


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry and its place in the order in which entries came."""

    sequence: int
    entry: AuditEntry


class AccessStore(Protocol):
    """Durable: what was written is on disk when a method returns."""

    async def keys(self) -> list[Key]:
        """Return all keys."""

    async def members(self) -> list[Member]:
        """Return all members of all projects."""

    async def put(self, key: Key | None = None, member: Member | None = None) -> None:
        """Write a key, a member, or both together; what was there of that name is replaced."""

    async def remove_member(self, project: str, user: str) -> None:
        """Take somebody's role away."""

    async def used(self, times: Mapping[str, int]) -> None:
        """Write down when keys were used last, by their ids."""

    async def add(self, entries: Sequence[AuditEntry]) -> None:
        """Add to the audit log what is not in it yet."""

    async def entries(self, query: AuditQuery, before: int | None, limit: int) -> list[Kept]:
        """Return entries with a sequence below `before` (None: all), the newest first."""

    async def forget(self, before_us: int) -> int:
        """Let go of entries older than this; return how many there were."""
