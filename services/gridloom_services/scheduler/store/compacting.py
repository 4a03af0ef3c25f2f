"""Letting go of events, and remembering up to where they are not complete any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom_services.common.cursor import insert

if TYPE_CHECKING:
    from gridloom_services.common.cursor import Cursor

_COMPACTED = "compacted"


def compacted(cursor: Cursor) -> int:
    """Return the newest revision whose event is gone; 0: none is."""
    row = cursor.one("SELECT value FROM scheduler_facts WHERE name = ?", _COMPACTED)
    return int(row[0]) if row else 0


def note_compacted(cursor: Cursor, revision: int) -> int:
    """Remember that the event of a revision is gone; return the newest of which that is so."""
    before = compacted(cursor)
    if revision <= before:
        return before
    cursor.run("DELETE FROM scheduler_facts WHERE name = ?", _COMPACTED)
    insert(cursor, "scheduler_facts", [{"name": _COMPACTED, "value": revision}])
    return revision


def compact(cursor: Cursor, before_us: int) -> int:
    """Let go of events of jobs that ended before then."""
    old = "sequence IN (SELECT sequence FROM jobs WHERE ended_us < ?)"
    ((newest,),) = cursor.all(f"SELECT max(revision) FROM job_events WHERE {old}", before_us)  # noqa: S608
    if newest is None:
        return compacted(cursor)
    cursor.run(f"DELETE FROM job_events WHERE {old}", before_us)  # noqa: S608
    return note_compacted(cursor, int(newest))
