"""Keys, members and audit entries as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gridloom.api.scheduler.v1 import access_pb2 as pb
from gridloom.errors import InvalidRequestError
from gridloom.jobs.times import moment_in

if TYPE_CHECKING:
    from datetime import datetime

ROLES = ("viewer", "submitter", "operator", "admin")
EVERYWHERE = "*"
"""Stands for every project, those to come included."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom the platform takes this client for. `project` is "*" where the role holds everywhere."""

    name: str
    kind: str
    project: str
    role: str
    key_id: str
    expires_at: datetime | None
    version: str


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """An API key: everything but the key itself."""

    id: str
    owner: str
    project: str
    role: str
    state: str
    """`active`, `expired` or `revoked`."""
    description: str
    created_at: datetime | None
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made. `secret` is shown this once; the platform keeps only a hash."""

    key: KeyInfo
    secret: str = field(repr=False)
    owner_was_added: bool = False
    """The owner was no member of the project before."""


@dataclass(frozen=True, slots=True)
class MemberInfo:
    """Somebody's role in a project, or ("*") in all of them."""

    project: str
    user: str
    role: str
    added_at: datetime | None
    added_by: str


@dataclass(frozen=True, slots=True)
class AuditInfo:
    """Who did (or was refused) what to which things. Of many things, the first 20 are named."""

    id: str
    at: datetime | None
    service: str
    action: str
    actor: str
    actor_kind: str
    key_id: str
    origin: str
    project: str
    objects: tuple[str, ...]
    object_count: int
    result: str
    detail: str
    request_id: str


def role_number(role: str, *, field_name: str = "role") -> pb.AccessRole.ValueType:
    """The role on the wire; an `InvalidRequestError` names those that there are."""
    if role not in ROLES:
        raise InvalidRequestError(
            f'role "{role}" does not exist; roles are {", ".join(ROLES)}',
            field=field_name,
            given=role,
            allowed=", ".join(ROLES),
        )
    return pb.AccessRole.ValueType(ROLES.index(role) + 1)


def role_word(number: int) -> str:
    """The role's name; "none" for none."""
    return ROLES[number - 1] if 0 < number <= len(ROLES) else "none"


def read_identity(message: pb.WhoAmIResponse) -> Identity:
    """The identity in this message."""
    return Identity(
        name=message.name,
        kind=message.kind,
        project=message.project,
        role=role_word(message.role),
        key_id=message.key_id,
        expires_at=moment_in(message, "expires_at"),
        version=message.version,
    )


def read_key(message: pb.Key, now: datetime) -> KeyInfo:
    """The key in this message, as it stands `now`."""
    expires_at = moment_in(message, "expires_at")
    revoked_at = moment_in(message, "revoked_at")
    has_expired = expires_at is not None and expires_at <= now
    return KeyInfo(
        id=message.id,
        owner=message.owner,
        project=message.project,
        role=role_word(message.role),
        state="revoked" if revoked_at else "expired" if has_expired else "active",
        description=message.description,
        created_at=moment_in(message, "created_at"),
        created_by=message.created_by,
        expires_at=expires_at,
        last_used_at=moment_in(message, "last_used_at"),
        revoked_at=revoked_at,
        revoked_by=message.revoked_by,
    )


def read_member(message: pb.Member) -> MemberInfo:
    """The member in this message."""
    return MemberInfo(
        project=message.project,
        user=message.user,
        role=role_word(message.role),
        added_at=moment_in(message, "added_at"),
        added_by=message.added_by,
    )


def read_entry(message: pb.AuditEntry) -> AuditInfo:
    """The audit entry in this message."""
    return AuditInfo(
        id=message.id,
        at=moment_in(message, "at"),
        service=message.service,
        action=message.action,
        actor=message.actor,
        actor_kind=message.actor_kind,
        key_id=message.key_id,
        origin=message.origin,
        project=message.project,
        objects=tuple(message.objects),
        object_count=message.object_count,
        result=message.result,
        detail=message.detail,
        request_id=message.request_id,
    )
