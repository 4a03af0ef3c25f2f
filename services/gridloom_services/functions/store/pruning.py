"""Removing what is older than it is kept for, a few rows at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom_services.functions.call import stored_id
from gridloom_services.functions.store import statements as sql
from gridloom_services.functions.store.rows import Pruned
from gridloom_services.functions.store.writing import drop_result

if TYPE_CHECKING:
    from gridloom_services.common.cursor import Cursor


def prune(cursor: Cursor, before: float, limit: int) -> Pruned:
    """Remove up to about `limit` rows of ended groups, then of sessions that were left behind.

    Then results of calls that have a name, and at once all that became of pools.
    """
    pruned = Pruned()
    for (group,) in cursor.all(sql.OLD_GROUPS, before, limit):
        if not _drop_results(cursor, pruned, limit, sql.GROUP_RESULTS, group):
            return pruned
        cursor.many(sql.DROP_GROUP, [(group,)])
        pruned.removed += 1
    for (session,) in cursor.all(sql.OLD_SESSIONS, before, limit):
        if pruned.removed >= limit:
            return pruned
        _prune_session(cursor, session, pruned, limit)
    _drop_results(cursor, pruned, limit, sql.OLD_NAMED, before)
    cursor.many(sql.DROP_POOL_EVENTS, [(before,)])
    if pruned.removed:
        cursor.many(sql.DROP_UNUSED_FUNCTIONS, [(before,)])
    return pruned


def _prune_session(cursor: Cursor, session: int, pruned: Pruned, limit: int) -> None:
    """A session with nothing unfinished goes, with every result that was never confirmed."""
    span = stored_id(session, 0), stored_id(session + 1, 0) - 1
    if cursor.one(sql.HAS_BLOCKS, *span) is not None:
        return
    if not _drop_results(cursor, pruned, limit, sql.SESSION_RESULTS, *span):
        return
    cursor.many(sql.DROP_GROUPS, [span])
    cursor.many(sql.DROP_SPECS, [(session,)])
    cursor.many(sql.DROP_SESSION, [(session,)])
    pruned.removed += 1


def _drop_results(
    cursor: Cursor, pruned: Pruned, limit: int, query: str, *parameters: float
) -> bool:
    """Remove results that a query finds; False: the limit was reached before the last."""
    room = limit - pruned.removed
    if room <= 0:
        return False
    rows = cursor.all(query, *parameters, room)
    for result_id, first, calls in rows:
        pruned.released += drop_result(cursor, result_id, first, calls)
    pruned.removed += len(rows)
    return len(rows) < room
