"""Our errors become statuses; everything else is a defect: logged whole, answered briefly."""

from __future__ import annotations

import asyncio
import logging
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc

from gridloom_services.common.errors import InternalError
from gridloom_services.common.interceptors.base import CallInterceptor, Method
from gridloom_services.common.statuses import refusal_of, status_of, trailers_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_log = logging.getLogger(__name__)


class ErrorInterceptor(CallInterceptor):
    """No exception reaches gRPC, which would tell its text to the client as "unknown"."""

    @asynccontextmanager
    async def around(
        self, method: Method, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[None]:
        """Abort with the status of what was raised."""
        try:
            yield
        except (grpc.aio.AbortError, asyncio.CancelledError, GeneratorExit):
            raise
        except Exception as error:  # noqa: BLE001  # the last place where it can be told
            known = refusal_of(error) or _defect(method, error)
            code, _ = status_of(known)
            await context.abort(code, known.message, trailers_of(known))


def _defect(method: Method, error: Exception) -> InternalError:
    number = uuid.uuid4().hex[:12]
    _log.error("defect in %s", method.path, exc_info=error, extra={"defect": number})
    return InternalError(
        f"a defect of the platform in {method.name} (its log has more under {number})",
        defect=number,
    )
