"""An API key as it is kept: everything but the key itself."""

from __future__ import annotations

import re
from dataclasses import field

from gridloom.values import dataclass

from gridloom_services.common.errors import InvalidRequestError
from gridloom_services.common.roles import EVERYWHERE, WORDS, Role

_USER = re.compile(r"[A-Za-z0-9](?:[-_.@+A-Za-z0-9]{0,126}[A-Za-z0-9])?")
_PROJECT = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_LONGEST_DESCRIPTION = 200


@dataclass(frozen=True, slots=True)
class Key:
    """Whose it is, what it may do at most, and until when. Times are microseconds since 1970."""

    id: str
    digest: bytes = field(repr=False)
    owner: str
    # EVERYWHERE: every project.
    project: str
    role: Role
    created_us: int
    created_by: str
    description: str = ""
    expires_us: int | None = None
    revoked_us: int | None = None
    revoked_by: str = ""
    # Coarse: not every use is written down.
    used_us: int | None = None
    # It stands in the file of the first administrator's key.
    is_bootstrap: bool = False

    def end_reason(self, now_us: int) -> str:
        """Why it opens nothing any more; empty: it does."""
        if self.revoked_us is not None:
            return f"the API key {self.id} was revoked"
        if self.expires_us is not None and self.expires_us <= now_us:
            return f"the API key {self.id} has expired"
        return ""


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody's role in a project, or (EVERYWHERE) in all of them."""

    project: str
    user: str
    role: Role
    added_us: int
    added_by: str


def check_user(user: str, field_name: str) -> None:
    """InvalidRequestError for what cannot be somebody's name."""
    if not _USER.fullmatch(user):
        allowed = "at most 128 letters, digits and inner - _ . @ +"
        raise InvalidRequestError(
            f'"{user}" cannot be the name of a user: {allowed}',
            field=field_name,
            given=user,
            allowed=allowed,
        )


def check_place(project: str) -> None:
    """InvalidRequestError for what is neither a project's name nor EVERYWHERE."""
    if project != EVERYWHERE and not _PROJECT.fullmatch(project):
        allowed = f'at most 63 lower-case letters, digits and inner -, or "{EVERYWHERE}" for all'
        raise InvalidRequestError(
            f'"{project}" cannot be a project: {allowed}',
            field="project",
            given=project,
            allowed=allowed,
        )


def check_role(number: int) -> Role:
    """The role; InvalidRequestError names those that there are."""
    try:
        role = Role(number)
    except ValueError:
        role = Role.NONE
    if not role:
        raise InvalidRequestError(
            f"a role is missing; roles are {', '.join(WORDS)}",
            field="role",
            given=number,
            allowed=", ".join(WORDS),
        )
    return role


def check_description(text: str) -> None:
    """InvalidRequestError for one that is too long."""
    if len(text) > _LONGEST_DESCRIPTION:
        raise InvalidRequestError(
            f"a description has at most {_LONGEST_DESCRIPTION} characters",
            field="description",
            given=f"{len(text)} characters",
        )
