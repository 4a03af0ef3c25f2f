"""The store on SQLite (embedded) and PostgreSQL (served), in the scheduler's database."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from gridloom_services.common.audit import AuditEntry
from gridloom_services.common.cursor import insert, marks, quoted
from gridloom_services.common.roles import Role
from gridloom_services.scheduler.access.key import Key, Member
from gridloom_services.scheduler.access.store.base import REFUSED, AuditQuery, Kept

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import SimpleNamespace

    from gridloom_services.common.cursor import Cursor
    from gridloom_services.common.store import Database

_DELETE_MEMBER = 'DELETE FROM access_members WHERE project = ? AND "user" = ?'
_ENTRY_FIELDS = tuple(each.name for each in fields(AuditEntry))
_ADD = (
    f"INSERT INTO access_audit ({', '.join(map(quoted, _ENTRY_FIELDS))})"  # noqa: S608
    f" VALUES {marks(len(_ENTRY_FIELDS))} ON CONFLICT (id) DO NOTHING"
)


class SqlAccessStore:
    """An `AccessStore` in a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keys(self) -> list[Key]:
        """Return all keys."""
        found = await self._database.run(lambda c: c.named("SELECT * FROM access_keys"))
        return [_key(row) for row in found]

    async def members(self) -> list[Member]:
        """Return all members."""
        found = await self._database.run(lambda c: c.named("SELECT * FROM access_members"))
        return [_member(row) for row in found]

    async def put(self, key: Key | None = None, member: Member | None = None) -> None:
        """Write one or both, in one transaction."""
        await self._database.run(lambda cursor: _put(cursor, key, member))

    async def remove_member(self, project: str, user: str) -> None:
        """Take somebody's role away."""
        await self._database.run(lambda cursor: cursor.run(_DELETE_MEMBER, project, user))

    async def used(self, times: Mapping[str, int]) -> None:
        """Write down last uses."""
        rows = [(at_us, key_id) for key_id, at_us in times.items()]
        statement = "UPDATE access_keys SET used_us = ? WHERE id = ?"
        await self._database.run(lambda cursor: cursor.many(statement, rows))

    async def add(self, entries: Sequence[AuditEntry]) -> None:
        """Add what is new."""
        rows = [_row(entry) for entry in entries]
        await self._database.run(lambda cursor: cursor.many(_ADD, rows))

    async def entries(self, query: AuditQuery, before: int | None, limit: int) -> list[Kept]:
        """Return the newest first."""
        conditions = _conditions(query)
        if before is not None:
            conditions.append(("sequence < ?", before))
        where = " AND ".join(condition for condition, _ in conditions) or "1 = 1"
        statement = f"SELECT * FROM access_audit WHERE {where} ORDER BY sequence DESC LIMIT ?"  # noqa: S608
        values = [value for _, value in conditions]
        found = await self._database.run(lambda c: c.named(statement, *values, limit))
        return [Kept(row.sequence, _entry(row)) for row in found]

    async def forget(self, before_us: int) -> int:
        """Let go of old entries."""
        statement = "DELETE FROM access_audit WHERE at_us < ?"
        return await self._database.run(lambda cursor: cursor.run(statement, before_us))


def _put(cursor: Cursor, key: Key | None, member: Member | None) -> None:
    if key is not None:
        cursor.run("DELETE FROM access_keys WHERE id = ?", key.id)
        insert(cursor, "access_keys", [_values(key)])
    if member is not None:
        cursor.run(_DELETE_MEMBER, member.project, member.user)
        insert(cursor, "access_members", [_values(member)])


def _values(value: Key | Member) -> dict[str, Any]:
    found = {each.name: getattr(value, each.name) for each in fields(value)}
    return found | {"role": int(value.role)}


def _key(row: SimpleNamespace) -> Key:
    said = {each.name: getattr(row, each.name) for each in fields(Key)}
    kinds = {
        "role": Role(row.role),
        "digest": bytes(row.digest),
        "is_bootstrap": bool(row.is_bootstrap),
    }
    return Key(**(said | kinds))


def _member(row: SimpleNamespace) -> Member:
    said = {each.name: getattr(row, each.name) for each in fields(Member)}
    return Member(**(said | {"role": Role(row.role)}))


def _row(entry: AuditEntry) -> tuple[Any, ...]:
    found = {name: getattr(entry, name) for name in _ENTRY_FIELDS}
    found["objects"] = "".join(f"\n{name}\n" for name in entry.objects)
    return tuple(found.values())


def _entry(row: SimpleNamespace) -> AuditEntry:
    said = {name: getattr(row, name) for name in _ENTRY_FIELDS}
    return AuditEntry(**(said | {"objects": tuple(filter(None, row.objects.split("\n")))}))


def _conditions(query: AuditQuery) -> list[tuple[str, Any]]:
    """Return what `AuditQuery.matches` asks, for the database: a condition and its value each."""
    equal = {
        "project": query.project,
        "actor": query.actor,
        "key_id": query.key_id,
        "action": "" if query.action.endswith(".") else query.action,
        "result": "" if query.result == REFUSED else query.result,
    }
    found: list[tuple[str, Any]] = [
        (f"{name} = ?", value) for name, value in equal.items() if value
    ]
    if query.action.endswith("."):
        found.append((f"substr(action, 1, {len(query.action)}) = ?", query.action))
    if query.object:
        found.append(("replace(objects, ?, '') <> objects", f"\n{query.object}\n"))
    if query.result == REFUSED:
        found.append(("result <> ?", "OK"))
    if query.since_us:
        found.append(("at_us >= ?", query.since_us))
    if query.until_us:
        found.append(("at_us < ?", query.until_us))
    return found
