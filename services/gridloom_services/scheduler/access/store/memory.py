"""The store's in-memory twin: it survives a scheduler, not the process."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from gridloom_services.scheduler.access.store.base import AuditQuery, Kept

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gridloom_services.common.audit import AuditEntry
    from gridloom_services.scheduler.access.key import Key, Member


class MemoryAccessStore:
    """An `AccessStore` of dictionaries."""

    def __init__(self) -> None:
        self._keys: dict[str, Key] = {}
        self._members: dict[tuple[str, str], Member] = {}
        self._audit: dict[int, AuditEntry] = {}
        self._known: set[str] = set()
        self._sequence = 0

    async def keys(self) -> list[Key]:
        """Return all keys."""
        return list(self._keys.values())

    async def members(self) -> list[Member]:
        """Return all members."""
        return list(self._members.values())

    async def put(self, key: Key | None = None, member: Member | None = None) -> None:
        """Write one or both."""
        if key is not None:
            self._keys[key.id] = key
        if member is not None:
            self._members[member.project, member.user] = member

    async def remove_member(self, project: str, user: str) -> None:
        """Take somebody's role away."""
        self._members.pop((project, user), None)

    async def used(self, times: Mapping[str, int]) -> None:
        """Write down last uses."""
        for key_id, at_us in times.items():
            self._keys[key_id] = replace(self._keys[key_id], used_us=at_us)

    async def add(self, entries: Sequence[AuditEntry]) -> None:
        """Add what is new."""
        for entry in entries:
            if entry.id not in self._known:
                self._known.add(entry.id)
                self._sequence += 1
                self._audit[self._sequence] = entry

    async def entries(self, query: AuditQuery, before: int | None, limit: int) -> list[Kept]:
        """Return the newest first."""
        found = (
            Kept(sequence, entry)
            for sequence, entry in reversed(self._audit.items())
            if (before is None or sequence < before) and query.matches(entry)
        )
        return list(islice(found, limit))

    async def forget(self, before_us: int) -> int:
        """Let go of old entries."""
        old = [key for key, entry in self._audit.items() if entry.at_us < before_us]
        for key in old:
            self._known.discard(self._audit.pop(key).id)
        return len(old)
