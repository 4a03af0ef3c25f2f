"""The tables of objects and of who holds them, and what is asked of them.

An object exists when its row is there. Small contents are in the row; of others the row comes after
the content is durable and goes before it is removed. Every function runs within a transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.segments import PREFIX
from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    bindparam,
    delete,
    exists,
    select,
    update,
)

from gridloom_services.common.sql import insert_or
from gridloom_services.objects.ref import ObjectRef

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy import Connection

_DIGEST_LENGTH = 71
# How many names one statement takes; PostgreSQL and SQLite allow some 32,000.
_SLICE = 1000

metadata = MetaData()

# `used_s` is when somebody last put, read or asked for it, to within `Objects`' granularity;
# `content` is null where it is in the store of contents.
objects = Table(
    "objects",
    metadata,
    Column("digest", String(_DIGEST_LENGTH), primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("created_s", BigInteger, nullable=False),
    Column("used_s", BigInteger, nullable=False),
    Column("content", LargeBinary),
    Index("objects_used", "used_s"),
)

object_holds = Table(
    "object_holds",
    metadata,
    Column("holder", Text, primary_key=True),
    Column("digest", String(_DIGEST_LENGTH), primary_key=True),
    # Whether anybody holds this object.
    Index("object_holds_digest", "digest"),
)


# Made once: to build a statement takes longer than to run it.
_FIND = select(objects.c.digest, objects.c.size_bytes).where(
    objects.c.digest.in_(bindparam("digests", expanding=True))
)
_CONTENT = select(objects.c.content).where(objects.c.digest == bindparam("digest"))


def find(connection: Connection, digests: Collection[str]) -> dict[str, ObjectRef]:
    """Those of them that exist."""
    found: dict[str, ObjectRef] = {}
    for part in _slices(digests):
        rows = connection.execute(_FIND, {"digests": part})
        found.update((row[0], ObjectRef(*row)) for row in rows)
    return found


def inline_content(connection: Connection, digest: str) -> bytes | None:
    """The content, if it is in the row."""
    return connection.execute(_CONTENT, {"digest": digest}).scalar()


def add(connection: Connection, ref: ObjectRef, now_s: int, content: bytes | None = None) -> None:
    """It exists from now on; if it did before, it was used now."""
    row = {
        "digest": ref.digest,
        "size_bytes": ref.size_bytes,
        "created_s": now_s,
        "used_s": now_s,
        "content": content,
    }
    statement = insert_or(connection, objects).values(row)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["digest"], set_={"used_s": now_s})
    )


def touch(connection: Connection, digests: Collection[str], now_s: int, before_s: int) -> None:
    """They are used now. Rows used at `before_s` or later are left as they are."""
    for part in _slices(digests):
        connection.execute(
            update(objects)
            .where(objects.c.digest.in_(part), objects.c.used_s < before_s)
            .values(used_s=now_s)
        )


def forget(connection: Connection, digests: Collection[str]) -> None:
    """They do not exist any more. Who held them holds nothing."""
    for part in _slices(digests):
        connection.execute(delete(objects).where(objects.c.digest.in_(part)))
        connection.execute(delete(object_holds).where(object_holds.c.digest.in_(part)))


def hold(connection: Connection, holder: str, digests: Collection[str]) -> list[str]:
    """Hold those that exist; the others, in the order given."""
    there = find(connection, digests)
    rows = [{"holder": holder, "digest": digest} for digest in there]
    if rows:
        connection.execute(insert_or(connection, object_holds).on_conflict_do_nothing(), rows)
    return [digest for digest in dict.fromkeys(digests) if digest not in there]


def hold_segments(connection: Connection, holder: str, names: Collection[str]) -> None:
    """Hold segments: they have no rows of their own."""
    rows = [{"holder": holder, "digest": name} for name in names]
    connection.execute(insert_or(connection, object_holds).on_conflict_do_nothing(), rows)


def held(connection: Connection, names: Collection[str]) -> set[str]:
    """Those of them that anybody holds."""
    found: set[str] = set()
    for part in _slices(names):
        query = select(object_holds.c.digest).where(object_holds.c.digest.in_(part))
        found.update(connection.execute(query).scalars())
    return found


def release(connection: Connection, holder: str, now_s: int) -> list[str]:
    """Let go of everything that the holder has. Its age counts from now.

    Returns the segments among it that nobody holds any more.
    """
    all_of_it = select(object_holds.c.digest).where(object_holds.c.holder == holder)
    connection.execute(update(objects).where(objects.c.digest.in_(all_of_it)).values(used_s=now_s))
    segments = all_of_it.where(object_holds.c.digest.like(f"{PREFIX}%"))
    names = set(connection.execute(segments).scalars())
    connection.execute(delete(object_holds).where(object_holds.c.holder == holder))
    return sorted(names - held(connection, names))


def expire(connection: Connection, before_s: int, limit: int) -> list[str]:
    """Remove up to `limit` rows that nobody holds and nobody has used since; their digests."""
    is_held = exists().where(object_holds.c.digest == objects.c.digest)
    query = select(objects.c.digest).where(objects.c.used_s < before_s, ~is_held).limit(limit)
    digests = list(connection.execute(query).scalars())
    forget(connection, digests)
    return digests


def _slices(digests: Iterable[str]) -> Iterable[list[str]]:
    every = list(dict.fromkeys(digests))
    return (every[start : start + _SLICE] for start in range(0, len(every), _SLICE))
