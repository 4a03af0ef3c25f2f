"""`grpc_server_*`: the metrics by the names that the common gRPC interceptors have."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc

from gridloom_services.common.interceptors.base import CallInterceptor, Method

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gridloom_services.common.metrics import Counter, Histogram, Metrics

_LABELS = ("grpc_type", "grpc_service", "grpc_method")


class MetricsInterceptor(CallInterceptor):
    """Counts calls as they begin and end, with their status; times the unary ones.

    A stream is as long as its client likes: its length says nothing, so it is not timed.
    """

    def __init__(self, metrics: Metrics) -> None:
        super().__init__()
        self._started = metrics.counter("grpc_server_started", "Calls that have begun.", _LABELS)
        self._handled = metrics.counter(
            "grpc_server_handled", "Calls that have ended.", (*_LABELS, "grpc_code")
        )
        self._seconds = metrics.histogram(
            "grpc_server_handling_seconds", "Length of unary calls.", _LABELS
        )
        self._instruments: dict[str, tuple[Counter, Histogram | None]] = {}

    @asynccontextmanager
    async def around(
        self, method: Method, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[None]:
        """Around everything else, so that refusals count too."""
        started, seconds = self._of(method)
        started.inc()
        begun = time.perf_counter()
        code = grpc.StatusCode.CANCELLED
        try:
            yield
            code = status_code(context.code())
        except asyncio.CancelledError:
            raise
        except Exception:
            code = status_code(context.code(), grpc.StatusCode.UNKNOWN)
            raise
        finally:
            self._handled.labels(method.kind, method.service, method.name, _camel(code)).inc()
            if seconds is not None:
                seconds.observe(time.perf_counter() - begun)

    def _of(self, method: Method) -> tuple[Counter, Histogram | None]:
        if method.path not in self._instruments:
            labels = (method.kind, method.service, method.name)
            self._instruments[method.path] = (
                self._started.labels(*labels),
                self._seconds.labels(*labels) if method.is_unary else None,
            )
        return self._instruments[method.path]


_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


def status_code(found: Any, default: grpc.StatusCode = grpc.StatusCode.OK) -> grpc.StatusCode:
    """The code that a context has: gRPC gives an enum, a number or nothing."""
    if isinstance(found, grpc.StatusCode):
        return found
    return _BY_NUMBER.get(found, default) if found else default


def _camel(code: grpc.StatusCode) -> str:
    """As everybody's dashboards have it: "OK", "InvalidArgument"."""
    if code is grpc.StatusCode.OK:
        return "OK"
    return code.name.title().replace("_", "")
