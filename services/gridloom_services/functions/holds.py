"""Objects that calls and their results refer to: kept in `objects` as long as those are kept."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

import grpc
from gridloom.api.objects.v1 import objects_pb2, objects_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gridloom_services.common.channels import Channels
    from gridloom_services.functions.ledger import Taken
    from gridloom_services.functions.store.rows import Found, HoldRow

_TIMEOUT_S = 10.0
_PAUSE_S = 0.5

_log = logging.getLogger(__name__)


class ObjectDoor(Protocol):
    """Holds and releases objects in somebody's name."""

    async def hold(self, holder: str, digests: Sequence[str]) -> None:
        """Keep them. OSError where `objects` cannot be reached."""

    async def release(self, holder: str) -> None:
        """Let go of all that is held in this name. OSError as above."""


class RemoteObjects:
    """The objects service."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels

    async def hold(self, holder: str, digests: Sequence[str]) -> None:
        """Keep them."""
        request = objects_pb2.HoldObjectsRequest(holder=holder, digests=digests)
        try:
            answer = await self._stub.HoldObjects(
                request, metadata=self._channels.metadata, timeout=_TIMEOUT_S
            )
        except grpc.aio.AioRpcError as error:
            raise ConnectionError(error.details()) from error
        if answer.missing:
            _log.warning("objects are gone", extra={"holder": holder, "count": len(answer.missing)})

    async def release(self, holder: str) -> None:
        """Let go of them."""
        request = objects_pb2.ReleaseObjectsRequest(holder=holder)
        try:
            await self._stub.ReleaseObjects(
                request, metadata=self._channels.metadata, timeout=_TIMEOUT_S
            )
        except grpc.aio.AioRpcError as error:
            raise ConnectionError(error.details()) from error

    @property
    def _stub(self) -> objects_pb2_grpc.ObjectsServiceAsyncStub:
        channel = self._channels.channel("objects")
        stub: objects_pb2_grpc.ObjectsServiceAsyncStub = objects_pb2_grpc.ObjectsServiceStub(
            channel
        )
        return stub


class MemoryObjects:
    """The door's twin: who holds what."""

    def __init__(self) -> None:
        self.held: dict[str, set[str]] = {}

    async def hold(self, holder: str, digests: Sequence[str]) -> None:
        """Keep them."""
        self.held.setdefault(holder, set()).update(digests)

    async def release(self, holder: str) -> None:
        """Let go of them."""
        self.held.pop(holder, None)


class Holds:
    """Holds and releases after the commits that call for it, in batches, until it has worked.

    The rows that say what is held are removed only after the release: a crash between leaves
    nothing held for ever.
    """

    def __init__(self, door: ObjectDoor, forget: Callable[[Iterable[int]], None]) -> None:
        """`forget` has the rows of calls removed."""
        self._door = door
        self._forget = forget
        self._wanted: dict[str, list[str]] = {}
        self._over: dict[str, list[int]] = {}
        self._news = asyncio.Event()

    @property
    def is_idle(self) -> bool:
        """Nothing is left to be told."""
        return not (self._wanted or self._over)

    def add(self, rows: Iterable[HoldRow], released: Iterable[tuple[int, str]]) -> None:
        """To be held, and (calls with the names that hold for them) to be let go."""
        for row in rows:
            self._wanted.setdefault(row.holder, []).extend(row.digests)
        for call, holder in released:
            self._over.setdefault(holder, []).append(call)
        if not self.is_idle:
            self._news.set()

    async def run(self) -> None:
        """Tell `objects`, for as long as the service runs."""
        while True:
            await self._news.wait()
            self._news.clear()
            while not self.is_idle:
                try:
                    await self._tell()
                except OSError as error:
                    _log.debug("objects cannot be reached: %s", error)
                    await asyncio.sleep(_PAUSE_S)

    async def _tell(self) -> None:
        """Holds before releases: what is both is let go in the end."""
        for holder, wanted in list(self._wanted.items()):
            told = tuple(wanted)  # more may come for the same holder meanwhile
            await self._door.hold(holder, told)
            left = wanted[len(told) :]
            if left:
                self._wanted[holder] = left
            else:
                del self._wanted[holder]
        # What came meanwhile is told before the release that belongs to it.
        over = {who: calls for who, calls in self._over.items() if who not in self._wanted}
        for holder, calls in over.items():
            await self._door.release(holder)
            del self._over[holder]
            self._forget(calls)

    # ---- after each commit (`Watcher`)

    def committed(self, taken: Taken, found: Found) -> None:
        """What this commit wants kept, or kept no more."""
        if taken.changes.holds or found.released:
            self.add(taken.changes.holds, found.released)

    def store_failed(self, error: Exception) -> None:
        """Nothing is held that is not on disk."""
