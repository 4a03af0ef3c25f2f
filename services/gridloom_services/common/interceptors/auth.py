"""Every call has an owner who may make it, or is refused."""

from __future__ import annotations

from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from gridloom_services.common.auth import (
    Admission,
    Authenticator,
    Principal,
    set_current_admission,
)
from gridloom_services.common.errors import (
    InternalError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from gridloom_services.common.interceptors.base import CallInterceptor, Method
from gridloom_services.common.keys import is_key
from gridloom_services.common.permissions import RULES, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from collections.abc import Set as AbstractSet
    from contextlib import AbstractContextManager

    import grpc

    from gridloom_services.common.gangs import Gangs
    from gridloom_services.common.keyring import KeyRing

_BEARER = "Bearer "

# Whoever asks whether we live has no token.
_OPEN_SERVICES = frozenset({"grpc.health.v1.Health"})


class AuthInterceptor(CallInterceptor):
    """Finds out who calls, for `current_principal`, and whether they may by `permissions.RULES`.

    A gang may call only `gang_methods`. An open stream ends when its API key or its gang does.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        gang_methods: AbstractSet[str],
        keys: KeyRing | None = None,
        gangs: Gangs | None = None,
    ) -> None:
        super().__init__()
        self._authenticator = authenticator
        self._gang_methods = gang_methods
        self._keys = keys
        self._gangs = gangs

    def applies_to(self, method: Method) -> bool:
        """All but health."""
        return method.service not in _OPEN_SERVICES

    @asynccontextmanager
    async def around(
        self, method: Method, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[None]:
        """Before the call, and beside a stream."""
        principal, watch = await self._caller(_token(context))
        admission = self._admitted(principal, method)
        if not method.is_unary:
            with watch:
                yield
            return
        yield
        if not admission.is_settled:
            # Better no answer than one that nobody has looked at.
            raise InternalError(f"{method.name} has not said which project it is about")

    async def _caller(self, token: str) -> tuple[Principal, AbstractContextManager[None]]:
        """Whose the token is, and what a stream of theirs is to be held in."""
        if self._keys is not None and is_key(token):
            proof = self._keys.proof(token)
            principal = await self._keys.principal(proof)
            return principal, self._keys.watching(proof, principal)
        principal = self._authenticator.authenticate(token)
        if self._gangs is not None and principal.is_gang:
            await self._gangs.principal(principal)
            return principal, self._gangs.watching(principal, principal)
        return principal, nullcontext()

    def _admitted(self, principal: Principal, method: Method) -> Admission:
        admission = Admission(principal, RULES.get(method.path, UNKNOWN), method.name)
        # Also of a call that is refused: the audit log says whose it was.
        set_current_admission(admission)
        if principal.is_gang and method.path not in self._gang_methods:
            raise _refusal(principal, method)
        admission.check_entry()
        return admission


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
