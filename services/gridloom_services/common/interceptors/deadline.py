"""No unary call lasts for ever, and none is begun whose caller has stopped waiting."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc

from gridloom_services.common.interceptors.base import CallInterceptor, Method

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_LATE = grpc.StatusCode.DEADLINE_EXCEEDED


class DeadlineInterceptor(CallInterceptor):
    """A unary call without a deadline gets `default_s`; a stream may go on.

    The deadline that a caller gave is kept by gRPC itself, which cancels the call then.
    """

    def __init__(self, default_s: float) -> None:
        super().__init__()
        self._default_s = default_s

    @asynccontextmanager
    async def around(
        self, method: Method, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[None]:
        """Refuse what is late already; end what becomes late."""
        remaining_s = context.time_remaining()
        if remaining_s is not None:
            if remaining_s <= 0:
                await context.abort(_LATE, f"{method.name} came after its deadline")
            yield
        elif not method.is_unary:
            yield
        else:
            limit = asyncio.timeout(self._default_s)
            try:
                async with limit:
                    yield
            except TimeoutError:
                if not limit.expired():
                    raise
                await context.abort(_LATE, f"{method.name} took over {self._default_s:g} s")
