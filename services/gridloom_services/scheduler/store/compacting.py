"""Letting go of events, and remembering up to where they are not complete any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom_services.common.cursor import insert

if TYPE_CHECKING:
    from gridloom_services.common.cursor import Cursor
    from gridloom_services.scheduler.store.base import Place

_COMPACTED = "compacted"

_ENDED = (
    "SELECT ended_us, sequence FROM jobs WHERE ended_us < ? AND (ended_us, sequence) > (?, ?)"
    " ORDER BY ended_us, sequence LIMIT ?"
)
_EVENTS = "SELECT revision FROM job_events WHERE sequence = ? ORDER BY revision LIMIT ?"
_DROP = "DELETE FROM job_events WHERE sequence = ? AND revision <= ?"


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


def compact(cursor: Cursor, before_us: int, limit: int, after: Place) -> Place | None:
    """Let go of `limit` events of jobs that ended before then: see `Store.compact`."""
    jobs = cursor.all(_ENDED, before_us, *after, limit)
    left, newest = limit, 0
    for place in jobs:
        events = cursor.all(_EVENTS, place[1], left)
        if events:
            ((last,), left) = events[-1], left - len(events)
            cursor.run(_DROP, place[1], last)
            newest = max(newest, int(last))
        if left == 0:  # of this job there may be more
            break
        after = place
    note_compacted(cursor, newest)
    return after if len(jobs) == limit or left == 0 else None
