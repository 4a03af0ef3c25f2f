"""The newest status of every replica, and readers that are told of changes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gridloom_services.scheduler.runtime.base import Phase, ReplicaStatus
from gridloom_services.scheduler.states import FailureClass

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Container, Iterable

    from gridloom_services.scheduler.runtime.base import Assignment, Placement

_Key = tuple[str, str, int]


class StatusBoard:
    """What `Runtime.watch` reads. Lives on one event loop.

    A reader holds keys, not statuses: however late it is, it costs no more than one key a replica
    and reads the newest. An ended replica stays as it is: what comes after is not taken.
    """

    def __init__(self) -> None:
        self._latest: dict[str, dict[tuple[str, int], ReplicaStatus]] = {}
        self._readers: set[_Reader] = set()
        self._closed = False

    def post(self, status: ReplicaStatus) -> None:
        """Show a status, if it is news."""
        replicas = self._latest.setdefault(status.gang, {})
        before = replicas.get((status.role, status.index))
        if before == status or (before is not None and before.phase is Phase.ENDED):
            return
        replicas[status.role, status.index] = status
        for reader in self._readers:
            reader.tell((status.gang, status.role, status.index))

    def came_too_late(
        self, gang: str, wanted: Placement, known: Container[tuple[str, int]]
    ) -> None:
        """Show as ended what is not `known`: growth that its gang did not live to see.

        It has no time of its end: it never lived, so it outlived nobody.
        """
        for each in wanted:
            if (each.role, each.index) not in known:
                self.post(_never(gang, each))

    def of(self, gang: str) -> list[ReplicaStatus]:
        """Return the newest statuses of a gang, in the order in which its replicas appeared."""
        return list(self._latest.get(gang, {}).values())

    def remove(self, gang: str) -> None:
        """Forget a gang."""
        self._latest.pop(gang, None)

    def close(self) -> None:
        """End all readers once they have read what there is."""
        self._closed = True
        for reader in self._readers:
            reader.wake()

    async def watch(self) -> AsyncIterator[ReplicaStatus]:
        """Every status there is, then each that changes."""
        reader = _Reader(
            (gang, role, index)
            for gang, replicas in self._latest.items()
            for role, index in replicas
        )
        self._readers.add(reader)
        try:
            while not (self._closed and reader.is_idle):
                key = await reader.next()
                if key is not None and (status := self._find(key)) is not None:
                    yield status
        finally:
            self._readers.discard(reader)

    def _find(self, key: _Key) -> ReplicaStatus | None:
        gang, role, index = key
        return self._latest.get(gang, {}).get((role, index))


def _never(gang: str, each: Assignment) -> ReplicaStatus:
    return ReplicaStatus(
        gang,
        each.role,
        each.index,
        Phase.ENDED,
        each.node,
        each.index,
        failure_class=FailureClass.CANCELLED,
        reason="its gang was ending before it could begin",
    )


class _Reader:
    """Keys that one reader has not read, each once, the one that waits longest first."""

    def __init__(self, present: Iterable[_Key]) -> None:
        self._unread: dict[_Key, None] = dict.fromkeys(present)
        self._news = asyncio.Event()

    @property
    def is_idle(self) -> bool:
        return not self._unread

    def tell(self, key: _Key) -> None:
        self._unread[key] = None
        self._news.set()

    def wake(self) -> None:
        self._news.set()

    async def next(self) -> _Key | None:
        if not self._unread:
            await self._news.wait()
        self._news.clear()
        for key in self._unread:
            del self._unread[key]
            return key
        return None
