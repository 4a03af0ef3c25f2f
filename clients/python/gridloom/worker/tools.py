"""What a worker works with, whatever the way in which it runs calls."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gridloom.payload import PayloadCodec
from gridloom.worker.functions import FunctionShelf
from gridloom.worker.modules import ModuleShelf

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gridloom.objects import Bytes, ObjectsClient
    from gridloom.segments import Place
    from gridloom.worker.seat import PoolSettings, Seat


class LazyObjects:
    """The `objects` service, connected to when something large comes or goes.

    Until then a worker has neither gRPC's memory nor its threads.
    """

    def __init__(self, pool: PoolSettings) -> None:
        self._pool = pool
        self._client: ObjectsClient | None = None

    def put_bytes(self, data: Bytes) -> str:
        """Store the bytes and return their digest."""
        return self._connected().put_bytes(data)

    def get_bytes(self, digest: str) -> bytearray | memoryview:
        """The bytes with this digest."""
        return self._connected().get_bytes(digest)

    def share(self, parts: Sequence[memoryview]) -> Sequence[Place] | None:
        """Put the bytes into shared memory; None: there is none here, or no room."""
        return self._connected().share(parts)

    def shared(self, name: str) -> bytearray | memoryview:
        """A segment of shared memory."""
        return self._connected().shared(name)

    def _connected(self) -> ObjectsClient:
        if self._client is None:
            from gridloom.channel import Connection
            from gridloom.objects import ObjectsClient

            self._client = ObjectsClient(Connection(self._pool.platform()))
        return self._client


class Tools:
    """A worker's seat, its envelopes and its functions."""

    def __init__(self, seat: Seat) -> None:
        objects = LazyObjects(seat.pool)
        self.seat = seat
        self.codec = PayloadCodec(objects)
        self.modules = ModuleShelf(seat.pool.folder, objects.get_bytes)
        self.functions = FunctionShelf(self.codec, self.modules)

    def initialise(self) -> None:
        """Run the pool's initialiser. Raises what it raises."""
        if not self.seat.pool.initializer:
            return
        self.modules.activate(self.seat.pool.bundle)
        function, args = self.codec.decode(self.seat.pool.initializer)
        function(*args)


class ForkWatch:
    """Keeps a process that user code forks away from what belongs to the worker."""

    def __init__(self) -> None:
        self.is_child = False
        self._leave: list[Callable[[], None]] = []
        os.register_at_fork(after_in_child=self._forked)

    def leave_in_child(self, action: Callable[[], None]) -> None:
        """Have this done in a child, before any of its own code runs."""
        self._leave.append(action)

    def _forked(self) -> None:
        self.is_child = True
        for action in self._leave:
            action()
