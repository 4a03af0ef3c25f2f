"""Taking jobs that are long over out of the database, a few rows at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom_services.common.cursor import insert, marks
from gridloom_services.scheduler.job import gang_name
from gridloom_services.scheduler.store import rows
from gridloom_services.scheduler.store.compacting import note_compacted

if TYPE_CHECKING:
    from gridloom_services.common.cursor import Cursor
    from gridloom_services.scheduler.job import Job

_IS_OVER = "state >= 5 AND ended_us < ?"
# The newest job's row says which sequence was given last.
_NOT_NEWEST = "sequence < (SELECT max(sequence) FROM jobs)"
_NTH = "SELECT ended_us FROM jobs WHERE ended_us IS NOT NULL ORDER BY ended_us DESC LIMIT 1"


def horizon(cursor: Cursor, before_us: int, most: int) -> int:
    """Return when jobs must have ended to go: by age, or because newer ones are `most` already."""
    first_too_many = cursor.one(f"{_NTH} OFFSET ?", most)
    return max(before_us, first_too_many[0] + 1) if first_too_many else before_us


def prune(cursor: Cursor, before_us: int, limit: int, spared: frozenset[str]) -> int:
    """Remove about `limit` rows of the jobs that ended first. A job of many rows goes in steps."""
    among = f" AND id NOT IN {marks(len(spared))}" if spared else ""
    where = f"{_IS_OVER} AND {_NOT_NEWEST}{among} ORDER BY ended_us, sequence LIMIT ?"
    found = cursor.named(f"SELECT * FROM jobs WHERE {where}", before_us, *sorted(spared), limit)  # noqa: S608
    left = limit
    for row in found:
        if left <= 0:
            break
        left -= _prune_job(cursor, rows.job_of(row), left)
    return limit - left


def _prune_job(cursor: Cursor, job: Job, limit: int) -> int:
    """Remove rows of one job, its own last; how many."""
    removed = _prune_ends(cursor, job, limit)
    if removed < limit:
        removed += _prune_events(cursor, job, limit - removed)
    if removed >= limit:
        return removed
    labels = [(key, job.sequence) for key in job.spec.labels]
    cursor.many("DELETE FROM job_labels WHERE key = ? AND sequence = ?", labels)
    cursor.run("DELETE FROM job_tries WHERE sequence = ?", job.sequence)
    cursor.run("DELETE FROM jobs WHERE sequence = ?", job.sequence)
    insert(cursor, "job_leavings", [{"id": job.id}])
    return removed + 1


def _prune_ends(cursor: Cursor, job: Job, limit: int) -> int:
    query = "SELECT element, attempt FROM gang_ends WHERE sequence = ? LIMIT ?"
    ended = cursor.all(query, job.sequence, limit)
    gangs = [(gang_name(job, element, attempt),) for element, attempt in ended]
    cursor.many("DELETE FROM gang_streams WHERE gang = ?", gangs)
    cursor.many(
        "DELETE FROM gang_ends WHERE sequence = ? AND element = ? AND attempt = ?",
        [(job.sequence, element, attempt) for element, attempt in ended],
    )
    return len(ended)


def _prune_events(cursor: Cursor, job: Job, limit: int) -> int:
    query = "SELECT revision FROM job_events WHERE sequence = ? ORDER BY revision LIMIT ?"
    revisions = cursor.all(query, job.sequence, limit)
    cursor.many("DELETE FROM job_events WHERE revision = ?", revisions)
    if revisions:
        note_compacted(cursor, revisions[-1][0])
    return len(revisions)
