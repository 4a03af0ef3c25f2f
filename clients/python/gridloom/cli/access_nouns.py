"""How keys, members and audit entries are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.cli import documents, words
from gridloom.cli.screen import Column, Noun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gridloom.access.info import AuditInfo, Identity, KeyInfo, MemberInfo

_STATE_STYLES = {"active": "green", "expired": "yellow", "revoked": "red"}


def _ago(moment: object) -> str:
    return words.age(moment) if moment else "never"  # type: ignore[arg-type]


def _ends(key: KeyInfo) -> str:
    return f"{key.expires_at.astimezone():%Y-%m-%d %H:%M}" if key.expires_at else "never"


KEY: Noun[KeyInfo] = Noun(
    "key",
    columns=(
        Column("KEY", lambda key: key.id),
        Column("OWNER", lambda key: key.owner, flexible=True),
        Column("PROJECT", lambda key: key.project),
        Column("ROLE", lambda key: key.role),
        Column("STATE", lambda key: (key.state, _STATE_STYLES[key.state])),
        Column("EXPIRES", _ends),
        Column("LAST USED", lambda key: _ago(key.last_used_at), right=True, spare=1),
        Column("DESCRIPTION", lambda key: key.description, flexible=True, spare=2),
    ),
    document=documents.plain,
    identifier=lambda key: key.id,
)

MEMBER: Noun[MemberInfo] = Noun(
    "member",
    columns=(
        Column("USER", lambda member: member.user),
        Column("PROJECT", lambda member: member.project),
        Column("ROLE", lambda member: member.role),
        Column("SINCE", lambda member: words.moment(member.added_at), spare=1),
        Column("ADDED BY", lambda member: member.added_by, spare=2),
    ),
    document=documents.plain,
    identifier=lambda member: member.user,
)


def _objects(entry: AuditInfo) -> str:
    named = ", ".join(entry.objects)
    more = entry.object_count - len(entry.objects)
    return f"{named} and {more:,} more" if more > 0 and named else named


def _result(entry: AuditInfo) -> tuple[str, str]:
    return entry.result, "green" if entry.result == "OK" else "red"


AUDIT: Noun[AuditInfo] = Noun(
    "entry",
    columns=(
        Column("WHEN", lambda e: f"{e.at.astimezone():%Y-%m-%d %H:%M:%S}" if e.at else "-"),
        Column("WHO", lambda e: e.actor),
        Column("KEY", lambda e: e.key_id, spare=2),
        Column("FROM", lambda e: e.origin, flexible=True, spare=3),
        Column("PROJECT", lambda e: e.project),
        Column("ACTION", lambda e: e.action),
        Column("WHAT", _objects, flexible=True),
        Column("RESULT", _result),
    ),
    document=documents.plain,
    identifier=lambda e: e.id,
)


def _identity_sheet(identity: Identity) -> Iterator[tuple[str, str]]:
    yield "user", identity.name
    yield "role", identity.role
    yield "project", "every project" if identity.project == "*" else identity.project
    if identity.key_id:
        yield "key", identity.key_id
        if identity.expires_at:
            yield "expires", f"{identity.expires_at.astimezone():%Y-%m-%d %H:%M}"
    yield "platform", f"Gridloom {identity.version}"


IDENTITY: Noun[Identity] = Noun(
    "identity",
    columns=(Column("USER", lambda identity: identity.name),),
    document=documents.plain,
    identifier=lambda identity: identity.name,
    sheet=_identity_sheet,
)
