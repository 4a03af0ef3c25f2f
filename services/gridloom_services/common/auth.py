"""Who calls, and what they may do: the interceptor finds it out and leaves it with the call."""

from __future__ import annotations

import getpass
import hmac
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal, Protocol

from gridloom.values import dataclass

from gridloom_services.common.errors import PermissionDeniedError, UnauthenticatedError
from gridloom_services.common.permissions import UNKNOWN, Rule, Scope
from gridloom_services.common.roles import EVERYWHERE, Role

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_PROJECT = "default"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: a person, the processes of one attempt of a job, or another service.

    `project` is where a call without one acts; it is empty for a service, which acts for all.
    A person has `role` in that project, and with `is_everywhere` in each. `job_id`, `attempt` and
    `element` are a gang's only: what it may do is said by method, see `gang_methods`.
    """

    name: str
    kind: Literal["user", "gang", "service"] = "user"
    project: str = DEFAULT_PROJECT
    job_id: str = ""
    attempt: int = 0
    element: int | None = None
    role: Role = Role.NONE
    is_everywhere: bool = False
    # Of the API key that was shown.
    key_id: str = ""

    @property
    def is_gang(self) -> bool:
        """It runs inside a job."""
        return self.kind == "gang"

    @property
    def is_user(self) -> bool:
        """It is a person, or a program with a person's key."""
        return self.kind == "user"

    def role_in(self, project: str) -> Role:
        """What a person may do there; EVERYWHERE: in each."""
        return self.role if self.is_everywhere or project == self.project else Role.NONE

    @property
    def reach(self) -> str:
        """Where the role holds."""
        return EVERYWHERE if self.is_everywhere else self.project


def administrator(name: str) -> Principal:
    """Somebody who may do everything."""
    return Principal(name, role=Role.ADMIN, is_everywhere=True)


class Authenticator(Protocol):
    """Knows whose a token is."""

    def authenticate(self, token: str) -> Principal:
        """The token's owner. UnauthenticatedError for a token that is none, or not any more."""
        ...


class StaticTokenAuthenticator:
    """One token, one owner: the embedded platform's."""

    def __init__(self, token: str, principal: Principal | None = None) -> None:
        self._token = token.encode()
        self._principal = principal or administrator(local_user())

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


class Admission:
    """A call that was let in: who makes it, by which rule, and which project it is about."""

    __slots__ = ("caller", "is_settled", "method", "objects", "project", "rule")

    def __init__(self, caller: Principal, rule: Rule = UNKNOWN, method: str = "this") -> None:
        self.caller = caller
        self.rule = rule
        self.method = method
        # Known when the service has found it out.
        self.project = ""
        # What it changes, where neither request nor answer names that: for the audit log.
        self.objects: list[str] = []
        # Somebody has looked whether the caller may do this there.
        self.is_settled = rule.scope is not Scope.PROJECT or not caller.is_user

    def check_entry(self) -> None:
        """Refuse whoever may not do this anywhere."""
        caller, rule = self.caller, self.rule
        if not caller.is_user:
            return
        if rule.scope in {Scope.SERVICES, Scope.GANGS}:
            raise PermissionDeniedError(f"{self.method} is {rule.scope.value} only")
        where = EVERYWHERE if rule.scope is Scope.PLATFORM else caller.project
        if caller.role_in(where) < rule.role:
            raise self._refusal(rule.role, where)

    def settle(self, project: str, *, is_own: bool) -> None:
        """Refuse whoever may not do this in this project, with what is (not) their own."""
        needed = self.rule.role_for(is_own=is_own)
        self.project = project
        self.is_settled = True
        if self.caller.is_user and self.caller.role_in(project) < needed:
            raise self._refusal(needed, project)

    def _refusal(self, needed: Role, project: str) -> PermissionDeniedError:
        caller = self.caller
        key = f" (key {caller.key_id})" if caller.key_id else ""
        return PermissionDeniedError(
            f'{self.method} needs the role "{needed.word}" in {_where(project)};'
            f" {caller.name}{key} has {_held(caller, project)}",
            field="project",
            given=project,
            role=needed.word,
            project=project,
            has=caller.role_in(project).word,
        )


def _where(project: str) -> str:
    return "every project" if project == EVERYWHERE else f'project "{project}"'


def _held(caller: Principal, project: str) -> str:
    """What somebody has, in words, where it is not enough."""
    has = caller.role_in(project)
    if has:
        return f'"{has.word}" there'
    return f'"{caller.role.word}" in {_where(caller.reach)} only' if caller.role else "none"


_admission: ContextVar[Admission] = ContextVar("gridloom_admission")


def current_admission() -> Admission:
    """The call that is being answered. LookupError outside of one."""
    return _admission.get()


def admission_or_none() -> Admission | None:
    """The call that is being answered; None where nobody has found out whose it is."""
    return _admission.get(None)


def current_principal() -> Principal:
    """Who makes the call that is being answered. LookupError outside of one."""
    return _admission.get().caller


def set_current_admission(admission: Admission) -> None:
    """For the interceptor."""
    _admission.set(admission)


def set_current_principal(principal: Principal, rule: Rule = UNKNOWN) -> None:
    """For tests of what asks."""
    _admission.set(Admission(principal, rule))


def require_project(project: str, *, owner: str | None = None) -> str:
    """The project to act in, the one asked for or else the caller's own, if the caller may.

    `owner` is whose the thing is that the call is about: some methods ask more of others than of
    them. A gang acts in its own project only. PermissionDeniedError says which role is missing.
    """
    admission = current_admission()
    caller = admission.caller
    if caller.is_gang and project not in {"", caller.project}:
        raise PermissionDeniedError(
            f'a process of {caller.job_id} acts in project "{caller.project}", not "{project}"',
            field="project",
            given=project,
            allowed=caller.project,
        )
    chosen = project or caller.project or DEFAULT_PROJECT
    admission.settle(chosen, is_own=owner is None or owner == caller.name)
    return chosen


def project_to_look_at(project: str) -> str:
    """The project whose things may be listed; empty: all projects.

    Who sees one project only and names none is shown that one.
    """
    admission = current_admission()
    caller = admission.caller
    if caller.is_gang:
        return caller.project
    if project or (caller.is_user and not caller.is_everywhere):
        return require_project(project)
    admission.settle(EVERYWHERE, is_own=True)
    admission.project = ""
    return ""


def local_user() -> str:
    """The name of whoever runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no entry for this uid, as in many containers
        return "local"
