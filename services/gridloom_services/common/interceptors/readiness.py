"""Calls to a service that is still starting, or is stopping, are refused with "try again"."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from gridloom_services.common.errors import UnavailableError
from gridloom_services.common.interceptors.base import CallInterceptor, Method

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from collections.abc import Set as AbstractSet

    import grpc


class Readiness:
    """Which gRPC services take calls now."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._ready: set[str] = set()
        self._under_way = 0
        self._none_under_way = asyncio.Event()
        self._none_under_way.set()

    def expect(self, services: AbstractSet[str]) -> None:
        """They exist and are not ready yet."""
        self._known |= services

    def set_ready(self, services: AbstractSet[str]) -> None:
        """They take calls from now on."""
        self._ready |= services

    def set_none_ready(self) -> None:
        """The process is stopping."""
        self._ready.clear()

    def check(self, service: str) -> None:
        """UnavailableError while it does not take calls. Others (health) always do."""
        if service in self._known and service not in self._ready:
            raise UnavailableError("the platform is starting or stopping", retry_after_s=0.1)

    def begin(self) -> None:
        """A call was let through."""
        self._under_way += 1
        self._none_under_way.clear()

    def end(self) -> None:
        """It is over."""
        self._under_way -= 1
        if not self._under_way:
            self._none_under_way.set()

    async def none_under_way(self) -> None:
        """Return when no call that was let through goes on."""
        await self._none_under_way.wait()


class ReadinessInterceptor(CallInterceptor):
    """Asks before each call; calls that are under way are counted, and not concerned."""

    def __init__(self, readiness: Readiness) -> None:
        super().__init__()
        self._readiness = readiness

    @asynccontextmanager
    async def around(
        self, method: Method, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[None]:
        """Around the whole call."""
        del context
        self._readiness.check(method.service)
        self._readiness.begin()
        try:
            yield
        finally:
            self._readiness.end()
