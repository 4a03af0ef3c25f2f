"""Every call has an owner, or is refused."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from gridloom_services.common.auth import Authenticator, Principal, set_current_principal
from gridloom_services.common.errors import PermissionDeniedError, UnauthenticatedError
from gridloom_services.common.interceptors.base import CallInterceptor, Method

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from collections.abc import Set as AbstractSet

    import grpc

_BEARER = "Bearer "

# Whoever asks whether we live has no token.
_OPEN_SERVICES = frozenset({"grpc.health.v1.Health"})


class AuthInterceptor(CallInterceptor):
    """Finds out who calls, for `current_principal`. A gang may call only `gang_methods`."""

    def __init__(self, authenticator: Authenticator, gang_methods: AbstractSet[str]) -> None:
        super().__init__()
        self._authenticator = authenticator
        self._gang_methods = gang_methods

    def applies_to(self, method: Method) -> bool:
        """All but health."""
        return method.service not in _OPEN_SERVICES

    @asynccontextmanager
    async def around(
        self, method: Method, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[None]:
        """Before the call; nothing after it."""
        principal = self._authenticator.authenticate(_token(context))
        if principal.is_gang and method.path not in self._gang_methods:
            raise _refusal(principal, method)
        set_current_principal(principal)
        yield


def _token(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            text = value if isinstance(value, str) else value.decode("latin-1")
            return text.removeprefix(_BEARER)
    raise UnauthenticatedError("the call has no token; clients send `authorization: Bearer TOKEN`")


def _refusal(principal: Principal, method: Method) -> PermissionDeniedError:
    return PermissionDeniedError(
        f"a process inside {principal.job_id} may not call {method.name}: its token is for that"
        " job's own calls, results and files",
        role="submitter",
    )
