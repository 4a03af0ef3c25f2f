"""What is asked of the tables of objects and of who holds them.

An object exists when its row is there. Small contents are in the row; of others the row comes after
the content is durable and goes before it is removed. Every function runs within a transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.segments import PREFIX

from gridloom_services.common.cursor import marks
from gridloom_services.objects.ref import ObjectRef

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from gridloom_services.common.cursor import Cursor

# How many names one statement takes; PostgreSQL and SQLite allow some 32,000.
_SLICE = 1000

_ADD = (
    "INSERT INTO objects (digest, size_bytes, created_s, used_s, content) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (digest) DO UPDATE SET used_s = excluded.used_s"
)
_HOLD = "INSERT INTO object_holds (holder, digest) VALUES (?, ?) ON CONFLICT DO NOTHING"
_IS_HELD = "EXISTS (SELECT 1 FROM object_holds WHERE digest = objects.digest)"


def find(cursor: Cursor, digests: Collection[str]) -> dict[str, ObjectRef]:
    """Those of them that exist."""
    found: dict[str, ObjectRef] = {}
    for part in _slices(digests):
        query = f"SELECT digest, size_bytes FROM objects WHERE digest IN {marks(len(part))}"  # noqa: S608
        found.update((row[0], ObjectRef(*row)) for row in cursor.all(query, *part))
    return found


def inline_content(cursor: Cursor, digest: str) -> bytes | None:
    """The content, if it is in the row."""
    found = cursor.one("SELECT content FROM objects WHERE digest = ?", digest)
    return found[0] if found else None


def add(cursor: Cursor, ref: ObjectRef, now_s: int, content: bytes | None = None) -> None:
    """It exists from now on; if it did before, it was used now."""
    cursor.run(_ADD, ref.digest, ref.size_bytes, now_s, now_s, content)


def touch(cursor: Cursor, digests: Collection[str], now_s: int, before_s: int) -> None:
    """They are used now. Rows used at `before_s` or later are left as they are."""
    for part in _slices(digests):
        cursor.run(
            f"UPDATE objects SET used_s = ? WHERE used_s < ? AND digest IN {marks(len(part))}",  # noqa: S608
            *(now_s, before_s, *part),
        )


def forget(cursor: Cursor, digests: Collection[str]) -> None:
    """They do not exist any more. Who held them holds nothing."""
    for part in _slices(digests):
        for table in ("objects", "object_holds"):
            cursor.run(f"DELETE FROM {table} WHERE digest IN {marks(len(part))}", *part)  # noqa: S608


def hold(cursor: Cursor, holder: str, digests: Collection[str]) -> list[str]:
    """Hold those that exist; the others, in the order given."""
    there = find(cursor, digests)
    cursor.many(_HOLD, [(holder, digest) for digest in there])
    return [digest for digest in dict.fromkeys(digests) if digest not in there]


def hold_segments(cursor: Cursor, holder: str, names: Collection[str]) -> None:
    """Hold segments: they have no rows of their own."""
    cursor.many(_HOLD, [(holder, name) for name in names])


def held(cursor: Cursor, names: Collection[str]) -> set[str]:
    """Those of them that anybody holds."""
    found: set[str] = set()
    for part in _slices(names):
        query = f"SELECT digest FROM object_holds WHERE digest IN {marks(len(part))}"  # noqa: S608
        found.update(row[0] for row in cursor.all(query, *part))
    return found


def release(cursor: Cursor, holder: str, now_s: int) -> list[str]:
    """Let go of everything that the holder has. Its age counts from now.

    Returns the segments among it that nobody holds any more.
    """
    all_of_it = "SELECT digest FROM object_holds WHERE holder = ?"
    cursor.run(f"UPDATE objects SET used_s = ? WHERE digest IN ({all_of_it})", now_s, holder)  # noqa: S608
    segments = cursor.all(f"{all_of_it} AND digest LIKE ?", holder, f"{PREFIX}%")
    names = {row[0] for row in segments}
    cursor.run("DELETE FROM object_holds WHERE holder = ?", holder)
    return sorted(names - held(cursor, names))


def any_expired(cursor: Cursor, before_s: int) -> bool:
    """Whether there is anything that `expire` would remove."""
    return bool(_expired(cursor, before_s, 1))


def expire(cursor: Cursor, before_s: int, limit: int) -> list[str]:
    """Remove up to `limit` rows that nobody holds and nobody has used since; their digests."""
    digests = _expired(cursor, before_s, limit)
    forget(cursor, digests)
    return digests


def _expired(cursor: Cursor, before_s: int, limit: int) -> list[str]:
    query = f"SELECT digest FROM objects WHERE used_s < ? AND NOT {_IS_HELD} LIMIT ?"  # noqa: S608
    return [row[0] for row in cursor.all(query, before_s, limit)]


def _slices(digests: Iterable[str]) -> Iterable[list[str]]:
    """Filled up with the last one to a power of two: there are few different statements then."""
    every = list(dict.fromkeys(digests))
    for start in range(0, len(every), _SLICE):
        part = every[start : start + _SLICE]
        room = (1 << (len(part) - 1).bit_length()) - len(part)
        yield part + part[-1:] * min(room, _SLICE - len(part))
