"""Who calls: the interceptor asks an `Authenticator` and leaves its answer with the call."""

from __future__ import annotations

import getpass
import hmac
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from gridloom_services.common.errors import PermissionDeniedError, UnauthenticatedError

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_PROJECT = "default"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: a person, the processes of one attempt of a job, or another service.

    `job_id`, `attempt` and `element` are a gang's only. `project` is empty for a service, which
    acts for all of them.
    """

    name: str
    kind: Literal["user", "gang", "service"] = "user"
    project: str = DEFAULT_PROJECT
    job_id: str = ""
    attempt: int = 0
    element: int | None = None

    @property
    def is_gang(self) -> bool:
        """It runs inside a job."""
        return self.kind == "gang"


class Authenticator(Protocol):
    """Knows whose a token is."""

    def authenticate(self, token: str) -> Principal:
        """The token's owner. UnauthenticatedError for a token that is none, or not any more."""
        ...


class StaticTokenAuthenticator:
    """One token, one owner: the embedded platform's."""

    def __init__(self, token: str, principal: Principal | None = None) -> None:
        self._token = token.encode()
        self._principal = principal or Principal(local_user())

    def authenticate(self, token: str) -> Principal:
        """The owner; compared in constant time."""
        if not hmac.compare_digest(token.encode(), self._token):
            raise UnauthenticatedError("the token is not this platform's")
        return self._principal


class AuthenticatorChain:
    """The first that knows the token answers; the last one's refusal is the answer else."""

    def __init__(self, authenticators: Iterable[Authenticator]) -> None:
        self._authenticators = tuple(authenticators)

    def authenticate(self, token: str) -> Principal:
        """As the first that does not refuse."""
        refusal = UnauthenticatedError("no token was sent")
        for authenticator in self._authenticators:
            try:
                return authenticator.authenticate(token)
            except UnauthenticatedError as error:
                refusal = error
        raise refusal


_caller: ContextVar[Principal] = ContextVar("gridloom_caller")


def current_principal() -> Principal:
    """Who makes the call that is being answered. LookupError outside of one."""
    return _caller.get()


def set_current_principal(principal: Principal) -> None:
    """For the interceptor, and for tests of what asks."""
    _caller.set(principal)


def require_project(project: str) -> str:
    """The project to act in: the one asked for, else the caller's own.

    A gang acts in its own project only.
    """
    caller = current_principal()
    if caller.is_gang and project not in {"", caller.project}:
        raise PermissionDeniedError(
            f'a process of {caller.job_id} acts in project "{caller.project}", not "{project}"',
            field="project",
            given=project,
            allowed=caller.project,
        )
    return project or caller.project or DEFAULT_PROJECT


def local_user() -> str:
    """The name of whoever runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no entry for this uid, as in many containers
        return "local"
