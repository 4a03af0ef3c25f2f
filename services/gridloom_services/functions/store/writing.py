"""A commit's changes, as statements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom_services.functions.call import stored_id
from gridloom_services.functions.store import codec
from gridloom_services.functions.store import statements as sql

if TYPE_CHECKING:
    from gridloom_services.common.cursor import Cursor
    from gridloom_services.functions.store.rows import Changes, Confirmation


def write(cursor: Cursor, changes: Changes) -> list[tuple[int, str]]:
    """Write everything. Returns calls whose objects are needed no more, with their holders."""
    if changes.is_rare:
        _write_rare(cursor, changes)
    if changes.blocks:
        cursor.many(sql.ADD_BLOCK, [codec.block_tuple(row) for row in changes.blocks])
    if changes.results:
        cursor.many(sql.ADD_RESULT, [codec.result_tuple(row) for row in changes.results])
    if changes.finished:
        ids = [(block,) for block in changes.finished]
        cursor.many(sql.DROP_BLOCK, ids)
        cursor.many(sql.DROP_PROGRESS, ids)
    cursor.many(sql.PUT_PROGRESS, changes.progress)
    released = _drop_results(cursor, changes)
    cursor.many(sql.UPDATE_SESSION, changes.sessions)
    return released


def _write_rare(cursor: Cursor, changes: Changes) -> None:
    """What most commits do not have."""
    cursor.many(sql.ADD_SESSION, [codec.session_tuple(row) for row in changes.new_sessions])
    cursor.many(sql.ADD_FUNCTION, [codec.function_tuple(*row) for row in changes.functions])
    cursor.many(sql.ADD_SPEC, [codec.spec_tuple(row) for row in changes.specs])
    cursor.many(sql.PUT_POOL, [codec.pool_tuple(row) for row in changes.pools])
    cursor.many(sql.PUT_GROUP, [codec.group_tuple(row) for row in changes.groups])
    cursor.many(sql.ADD_DEPENDENCY, changes.dependencies)
    cursor.many(sql.DROP_DEPENDENCIES, [(block,) for block in changes.dependencies_over])
    cursor.many(sql.ADD_HOLD, [codec.hold_tuple(row) for row in changes.holds])
    cursor.many(sql.DROP_HOLD, [(call,) for call in changes.holds_over])
    cursor.many(sql.PUT_ATTEMPT, [codec.attempt_tuple(row) for row in changes.attempts])
    cursor.many(sql.DROP_ATTEMPTS, changes.attempts_over)
    cursor.many(sql.ADD_OUTPUT, [codec.output_tuple(row) for row in changes.outputs])
    events = [codec.call_event_tuple(row) for row in changes.call_events]
    cursor.many(sql.ADD_CALL_EVENT, events)
    cursor.many(sql.ADD_POOL_EVENT, [codec.pool_event_tuple(row) for row in changes.pool_events])


def _drop_results(cursor: Cursor, changes: Changes) -> list[tuple[int, str]]:
    released: list[tuple[int, str]] = []
    for confirmed in changes.confirmed:
        released += _drop_confirmed(cursor, confirmed, changes)
    for call in changes.unpinned:
        released += _drop_unpinned(cursor, call, changes)
    return released


def _drop_confirmed(
    cursor: Cursor, confirmed: Confirmation, changes: Changes
) -> list[tuple[int, str]]:
    above = stored_id(confirmed.session, confirmed.above)
    upto = stored_id(confirmed.session, confirmed.number)
    if not (changes.pinned or confirmed.has_outputs or confirmed.has_holds):
        cursor.many(sql.DROP_CONFIRMED, [(above, upto)])
        return []
    released: list[tuple[int, str]] = []
    for result_id, first, calls in cursor.all(sql.CONFIRMED, above, upto):
        if not _is_pinned(changes, first, calls):
            released += drop_result(cursor, result_id, first, calls)
    if confirmed.has_holds:
        held = cursor.all(sql.CONFIRMED_HOLDS, above, upto, upto)
        released += [(call, holder) for call, holder in held if call not in changes.pinned]
    return released


def _drop_unpinned(cursor: Cursor, call: int, changes: Changes) -> list[tuple[int, str]]:
    """A result that only others were waiting for: its own client has it already."""
    released: list[tuple[int, str]] = []
    found = cursor.one(sql.RESULT_OF, call)
    if found is None:
        return released
    confirmed = {session: number for _, number, session in _confirmed_numbers(changes)}
    for row in cursor.all(sql.PARTS_OF, found[1]):
        result = codec.result_row(row)
        inside = row[1] <= call < row[1] + row[2]
        seen = result.number <= confirmed.get(result.session, -1)
        if not inside or not seen or _is_pinned(changes, row[1], row[2]):
            continue
        if result.group:
            released += cursor.all(sql.CONFIRMED_HOLDS, row[0] - 1, row[0], row[0])
        else:
            released += drop_result(cursor, row[0], row[1], row[2])
    return released


def _confirmed_numbers(changes: Changes) -> list[tuple[int, int, int]]:
    return [(last, confirmed, number) for last, _, confirmed, _, number in changes.sessions]


def drop_result(cursor: Cursor, result_id: int, first: int, calls: int) -> list[tuple[int, str]]:
    """Remove a run of results and what else is kept of its calls. Returns what was held."""
    cursor.many(sql.DROP_RESULT, [(result_id,)])
    cursor.many(sql.DROP_OUTPUTS, [(first, first + calls - 1)])
    cursor.many(sql.DROP_CALL_EVENTS, [(first, first + calls - 1)])
    return [(row[0], row[1]) for row in cursor.all(sql.HOLDS_BETWEEN, first, first + calls - 1)]


def _is_pinned(changes: Changes, first: int, calls: int) -> bool:
    if calls > len(changes.pinned):
        return any(first <= call < first + calls for call in changes.pinned)
    return any(call in changes.pinned for call in range(first, first + calls))
