"""The code of functions: kept in memory while it is used, else in the store."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING

from gridloom_services.common.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from gridloom_services.functions.call import Function
    from gridloom_services.functions.dispatch import Lane

CACHE_BYTES = 64 << 20

STORED_AGAIN_S = 600.0
"""Far less than any store keeps what is not used."""


class FunctionTable:
    """Functions by digest. A lane has its own reference while it waits."""

    def __init__(
        self,
        read: Callable[[bytes], Awaitable[Function | None]],
        spawn: Callable[[Coroutine[None, None, None]], object],
        ready: Callable[[Lane], None],
        missing: Callable[[Lane], None],
    ) -> None:
        """`ready` is told of a lane that has its code now, `missing` of one whose code is lost.

        `spawn` runs a coroutine beside everything else.
        """
        self._read = read
        self._spawn = spawn
        self._ready = ready
        self._missing = missing
        self._cache: OrderedDict[bytes, Function] = OrderedDict()
        self._stored_at: dict[bytes, float] = {}
        self._size = 0
        self._waiting: dict[bytes, set[Lane]] = {}

    def name(self, digest: bytes) -> str:
        """What users call it; empty where only the store knows."""
        function = self._cache.get(digest)
        return function.name if function else ""

    def define(self, function: Function) -> None:
        """A client sends code. InvalidRequestError: it does not have the digest.

        Lanes that waited for it go on.
        """
        if function.digest in self._cache:
            self._cache.move_to_end(function.digest)
            return
        if hashlib.sha256(function.code).digest() != function.digest:
            raise InvalidRequestError(
                f'the code of function "{function.name}" does not have the digest that was given',
                field="functions.digest",
                given=function.digest.hex(),
            )
        self._keep(function)

    def to_store(self, digest: bytes, now: float) -> Function | None:
        """A function that is used now and should be written, again where that was long ago.

        The store lets go of functions that no specification names: one that is about to be named
        must not be among them.
        """
        function = self._cache.get(digest)
        if function is None or now - self._stored_at.get(digest, 0.0) < STORED_AGAIN_S:
            return None
        self._stored_at[digest] = now
        return function

    def provide(self, lane: Lane) -> None:
        """Give a lane its code, now or as soon as it can be had."""
        digest = lane.spec.function
        function = self._cache.get(digest)
        if function is not None:
            self._cache.move_to_end(digest)
            lane.function = function
            self._ready(lane)
            return
        waiting = self._waiting.setdefault(digest, set())
        waiting.add(lane)
        if len(waiting) == 1:
            self._spawn(self._fetch(digest))

    async def _fetch(self, digest: bytes) -> None:
        function = await self._read(digest)
        if function is not None:
            self._keep(function)
        for lane in self._waiting.get(digest, ()):
            self._missing(lane)

    def _keep(self, function: Function) -> None:
        self._cache[function.digest] = function
        self._size += len(function.code)
        for lane in self._waiting.pop(function.digest, ()):
            lane.function = function
            self._ready(lane)
        while self._size > CACHE_BYTES and len(self._cache) > 1:
            digest, old = self._cache.popitem(last=False)
            self._stored_at.pop(digest, None)
            self._size -= len(old.code)

    def forget(self, lane: Lane) -> None:
        """A lane is gone."""
        waiting = self._waiting.get(lane.spec.function)
        if waiting is not None:
            waiting.discard(lane)
