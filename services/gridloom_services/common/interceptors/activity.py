"""Whether clients are here: what keeps an embedded platform from ending itself."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from gridloom_services.common.auth import current_principal
from gridloom_services.common.interceptors.base import CallInterceptor, Method

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import grpc


class Activity:
    """Counts the open calls of people's programs, and knows when the last of them ended."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.open_calls = 0
        self._last = clock()

    def begin(self) -> None:
        """A call has begun."""
        self.open_calls += 1

    def end(self) -> None:
        """A call has ended."""
        self.open_calls -= 1
        self._last = self._clock()

    @property
    def quiet_s(self) -> float:
        """For how long nobody has called; 0 while somebody does."""
        return 0.0 if self.open_calls else self._clock() - self._last


class ActivityInterceptor(CallInterceptor):
    """Counts users' calls: what gangs and services say among themselves is nobody's presence."""

    def __init__(self, activity: Activity) -> None:
        super().__init__()
        self._activity = activity

    def applies_to(self, method: Method) -> bool:
        """Health checks do not keep anything alive."""
        return not method.service.startswith("grpc.")

    @asynccontextmanager
    async def around(
        self, method: Method, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[None]:
        """Around the whole call."""
        del method, context
        if current_principal().kind != "user":
            yield
            return
        self._activity.begin()
        try:
            yield
        finally:
            self._activity.end()
