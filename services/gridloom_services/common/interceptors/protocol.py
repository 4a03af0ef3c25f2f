"""Clients that are too old or too new to be understood are told so, before anything else."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from gridloom.version import PROTOCOL, VERSION

from gridloom_services.common.errors import VersionMismatchError
from gridloom_services.common.interceptors.base import CallInterceptor, Method

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc

_SPOKEN = str(PROTOCOL)


class ProtocolInterceptor(CallInterceptor):
    """Compares `gridloom-protocol` of the call's metadata; who does not say it, is believed."""

    @asynccontextmanager
    async def around(
        self, method: Method, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[None]:
        """Before the call; nothing after it."""
        del method
        metadata = dict(context.invocation_metadata() or ())
        spoken = str(metadata.get("gridloom-protocol", _SPOKEN))
        if spoken != _SPOKEN:
            client = str(metadata.get("gridloom-client", "of an unknown version"))
            raise VersionMismatchError(
                f"the client (Gridloom {client}) speaks protocol {spoken}, this platform"
                f" (Gridloom {VERSION}) speaks {_SPOKEN}: install the same version on both sides",
                given=spoken,
                allowed=_SPOKEN,
                platform=VERSION,
            )
        yield
