"""What is done with keys, members and the audit log, written once for both faces of the SDK."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias, TypedDict

from gridloom import units
from gridloom.access.info import (
    AuditInfo,
    Identity,
    KeyInfo,
    MemberInfo,
    NewKey,
    read_entry,
    read_identity,
    read_key,
    read_member,
    role_number,
)
from gridloom.api.scheduler.v1 import access_pb2 as pb
from gridloom.errors import InvalidRequestError
from gridloom.jobs.times import timestamp_of
from gridloom.operation import Call
from gridloom.options import check_options

if TYPE_CHECKING:
    from gridloom.operation import Operation

_PAGE = 500

Moment: TypeAlias = datetime | units.Duration
"""A point in time with its zone; or how far it is from now."""


class AuditOptions(TypedDict, total=False):
    """Which entries of the audit log. `since` and `until` are points, or how long ago."""

    project: str
    actor: str
    action: str
    object: str
    key_id: str
    result: str
    since: Moment
    until: Moment


def who_am_i(timeout_s: float | None = None) -> Operation[Identity]:
    """Whom the platform takes the caller for."""
    call = Call("access", "WhoAmI", pb.WhoAmIRequest(), timeout_s=timeout_s)
    answer: pb.WhoAmIResponse = yield call
    return read_identity(answer)


def create_key(
    project: str, role: str, owner: str, description: str, expires: Moment | None
) -> Operation[NewKey]:
    """A new key. The answer is the only place where it stands."""
    request = pb.CreateKeyRequest(
        owner=owner, project=project, role=role_number(role), description=description
    )
    if expires is not None:
        request.expires_at.CopyFrom(timestamp_of(_point(expires, "expires", 1)))
    answer: pb.CreateKeyResponse = yield Call("access", "CreateKey", request)
    return NewKey(read_key(answer.key, _now()), answer.secret, answer.owner_was_added)


def list_keys(project: str, owner: str, *, also_ended: bool) -> Operation[list[KeyInfo]]:
    """The caller's own keys; an admin sees everybody's."""
    request = pb.ListKeysRequest(project=project, owner=owner, all=also_ended)
    answer: pb.ListKeysResponse = yield Call("access", "ListKeys", request)
    return [read_key(key, _now()) for key in answer.keys]


def revoke_key(key_id: str) -> Operation[KeyInfo]:
    """End a key for good."""
    answer: pb.RevokeKeyResponse = yield Call(
        "access", "RevokeKey", pb.RevokeKeyRequest(key_id=key_id_of(key_id))
    )
    return read_key(answer.key, _now())


def set_member(project: str, user: str, role: str) -> Operation[MemberInfo]:
    """Give a role, or change it."""
    request = pb.SetMemberRequest(project=project, user=user, role=role_number(role))
    answer: pb.SetMemberResponse = yield Call("access", "SetMember", request)
    return read_member(answer.member)


def remove_member(project: str, user: str) -> Operation[None]:
    """Take a role away."""
    yield Call("access", "RemoveMember", pb.RemoveMemberRequest(project=project, user=user))


def list_members(project: str) -> Operation[list[MemberInfo]]:
    """Who has which role."""
    request = pb.ListMembersRequest(project=project)
    answer: pb.ListMembersResponse = yield Call("access", "ListMembers", request)
    return [read_member(member) for member in answer.members]


def audit_page(
    options: AuditOptions, page_token: str, size: int = _PAGE
) -> Operation[tuple[list[AuditInfo], str]]:
    """Some entries, the newest first, and the token of the next page."""
    request = pb.ListAuditEntriesRequest(
        filter=_filter(options), page_size=min(size, _PAGE), page_token=page_token
    )
    answer: pb.ListAuditEntriesResponse = yield Call("access", "ListAuditEntries", request)
    return [read_entry(entry) for entry in answer.entries], answer.next_page_token


def key_id_of(text: str) -> str:
    """The id in an id, or in a whole key: the secret of one that leaked need not travel again."""
    parts = text.split("_")
    return parts[1] if text.startswith("glk_") and len(parts) > 1 else text


def frozen_options(options: AuditOptions) -> AuditOptions:
    """The options with their times as points, so that all pages mean the same."""
    check_options(options, tuple(AuditOptions.__annotations__))
    fixed: AuditOptions = {**options}
    if "since" in options:
        fixed["since"] = _point(options["since"], "since", -1)
    if "until" in options:
        fixed["until"] = _point(options["until"], "until", -1)
    return fixed


def _filter(options: AuditOptions) -> pb.AuditFilter:
    message = pb.AuditFilter(
        project=options.get("project", ""),
        actor=options.get("actor", ""),
        action=options.get("action", ""),
        object=options.get("object", ""),
        key_id=key_id_of(options.get("key_id", "")),
        result=options.get("result", ""),
    )
    if "since" in options:
        message.since.CopyFrom(timestamp_of(_point(options["since"], "since", -1)))
    if "until" in options:
        message.until.CopyFrom(timestamp_of(_point(options["until"], "until", -1)))
    return message


def _point(given: Moment, field: str, direction: int) -> datetime:
    """A point in time; a duration counts from now, forward or back."""
    if isinstance(given, str):
        given = _read_point(given)
    if not isinstance(given, datetime):
        return _now() + direction * timedelta(seconds=units.seconds(given, field=field))
    if given.tzinfo is None:
        raise InvalidRequestError(
            f"{field} needs a zone: {given.isoformat()} is a point in which one?",
            field=field,
            given=given.isoformat(),
        )
    return given


def _read_point(text: str) -> Moment:
    """A date or a point as people write it, in local time where no zone is said; else a span."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return text
    return found.astimezone() if found.tzinfo is None else found


def _now() -> datetime:
    return datetime.now(UTC)
