"""SQL of the functions service, for both databases: placeholders are those of SQLite."""
# ruff: noqa: S608  # put together from constants of this file only

from __future__ import annotations


def _insert(table: str, *columns: str, conflict: str = "") -> str:
    places = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places}){conflict}"


def _replace(table: str, key: tuple[str, ...], *columns: str) -> str:
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns)
    conflict = f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes}"
    return _insert(table, *key, *columns, conflict=conflict)


_KEPT = " ON CONFLICT DO NOTHING"

SESSION_COLUMNS = (
    "number, key, name, project, owner, python, last_sequence, result_number, confirmed,"
    " created_at, seen_at"
)
ADD_SESSION = _insert("call_sessions", *SESSION_COLUMNS.split(", "), conflict=_KEPT)
UPDATE_SESSION = (
    "UPDATE call_sessions SET last_sequence = ?, result_number = ?, confirmed = ?, seen_at = ?"
    " WHERE number = ?"
)
SESSIONS = f"SELECT {SESSION_COLUMNS} FROM call_sessions"
SESSIONS_IN_USE = f"{SESSIONS} WHERE number IN (SELECT id >> 40 FROM call_blocks) ORDER BY number"
NEWEST_SESSION = "SELECT max(number) FROM call_sessions"

ADD_FUNCTION = _insert(
    "call_functions",
    *("digest", "name", "python", "bundle_digest", "bundle_bytes", "stored_at", "code"),
    conflict=" ON CONFLICT (digest) DO UPDATE SET stored_at = excluded.stored_at",
)
FUNCTION = (
    "SELECT digest, name, code, python, bundle_digest, bundle_bytes FROM call_functions"
    " WHERE digest = ?"
)
FUNCTIONS = (
    "SELECT f.digest, f.name, ?, f.python, f.bundle_digest, f.bundle_bytes"
    " FROM call_functions f WHERE f.digest IN (SELECT s.function FROM call_specs s"
    " JOIN call_sessions c ON c.number = s.session WHERE c.project = ?)"
    " ORDER BY f.name, f.digest"
)

SPEC_COLUMNS = "session, number, function, pool_id, grp, options"
ADD_SPEC = _insert("call_specs", *SPEC_COLUMNS.split(", "), conflict=_KEPT)
SPECS = f"SELECT {SPEC_COLUMNS} FROM call_specs"
_IN_USE = "(session, number) IN (SELECT id >> 40, spec FROM call_blocks)"
SPECS_IN_USE = f"{SPECS} WHERE {_IN_USE} ORDER BY session, number"

GROUP_COLUMNS = (
    "id, name, kind, project, function, accepted, succeeded, failed, cancelled, sealed,"
    " created_at, ended_at"
)
PUT_GROUP = _replace("call_groups", ("id",), *GROUP_COLUMNS.split(", ")[1:])
GROUPS = f"SELECT {GROUP_COLUMNS} FROM call_groups"
GROUPS_IN_USE = (
    f"{GROUPS} WHERE id IN (SELECT (session << 40) | grp FROM call_specs WHERE grp > 0"
    f" AND {_IN_USE}) ORDER BY id"
)
GROUPS_PAGE = (
    f"{GROUPS} WHERE project = ? AND (created_at, id) < (?, ?)"
    " ORDER BY created_at DESC, id DESC LIMIT ?"
)

BLOCK_COLUMNS = "id, spec, calls, items, needs, grp_offset, accepted_at, arguments"
ADD_BLOCK = _insert("call_blocks", *BLOCK_COLUMNS.split(", "))
DROP_BLOCK = "DELETE FROM call_blocks WHERE id = ?"
_BLOCKS = (
    "SELECT b.id, b.spec, b.calls, b.items, b.needs, b.grp_offset, b.accepted_at, b.arguments,"
    " p.done FROM call_blocks b LEFT JOIN call_progress p ON p.block = b.id"
)
BLOCK = f"{_BLOCKS} WHERE b.id = ?"
BLOCK_OF = f"{_BLOCKS} WHERE b.id <= ? ORDER BY b.id DESC LIMIT 1"
NEXT_BLOCKS = (
    f"{_BLOCKS} WHERE b.id BETWEEN ? AND ? AND b.spec = ? AND b.needs = 0 ORDER BY b.id LIMIT ?"
)
EXTENTS = (
    "SELECT id >> 40 AS session, spec, min(id), max(id + calls - 1),"
    " sum(CASE WHEN items > 0 THEN items ELSE calls END) FROM call_blocks WHERE needs = 0"
    " GROUP BY id >> 40, spec ORDER BY 1, 2"
)
DONE_OF = (
    "SELECT b.id, b.spec, b.needs, p.done FROM call_progress p JOIN call_blocks b ON b.id = p.block"
)
WAITING = (
    "SELECT b.id, b.spec, b.calls, b.items, d.upstream FROM call_blocks b JOIN call_dependencies d"
    " ON d.block = b.id WHERE b.needs > 0 ORDER BY b.id, d.position"
)
HAS_BLOCKS = "SELECT 1 FROM call_blocks WHERE id BETWEEN ? AND ? LIMIT 1"

PUT_PROGRESS = _replace("call_progress", ("block",), "done")
DROP_PROGRESS = "DELETE FROM call_progress WHERE block = ?"

ATTEMPT_COLUMNS = (
    "block, position, errors, deaths, timeouts, out_of_memory, isolated, begun, not_before"
)
PUT_ATTEMPT = _replace("call_attempts", ("block", "position"), *ATTEMPT_COLUMNS.split(", ")[2:])
DROP_ATTEMPTS = "DELETE FROM call_attempts WHERE block = ? AND position >= ? AND position < ?"
ATTEMPTS = (
    "SELECT a.block, a.position, a.errors, a.deaths, a.timeouts, a.out_of_memory, a.isolated,"
    " a.begun, a.not_before, b.spec, b.items FROM call_attempts a JOIN call_blocks b"
    " ON b.id = a.block ORDER BY a.block, a.position"
)
ATTEMPTS_OF = f"SELECT {ATTEMPT_COLUMNS} FROM call_attempts WHERE block = ? ORDER BY position"

ADD_DEPENDENCY = _insert("call_dependencies", "block", "position", "upstream")
DROP_DEPENDENCIES = "DELETE FROM call_dependencies WHERE block = ?"
DEPENDENCIES_OF = "SELECT upstream FROM call_dependencies WHERE block = ? ORDER BY position"

ADD_HOLD = _insert("call_holds", "call", "holder", "digests")
DROP_HOLD = "DELETE FROM call_holds WHERE call = ?"
HOLDS = "SELECT call, holder, digests FROM call_holds ORDER BY call, id"
HOLDS_BETWEEN = "SELECT DISTINCT call, holder FROM call_holds WHERE call BETWEEN ? AND ?"

RESULT_COLUMNS = (
    "id, first, calls, item, items, statuses, grp, grp_offset, ended_at, data, accepted_at"
)
ADD_RESULT = _insert("call_results", *RESULT_COLUMNS.split(", "))
RESULTS = f"SELECT {RESULT_COLUMNS} FROM call_results"
RESULTS_AFTER = f"{RESULTS} WHERE id > ? AND id <= ? ORDER BY id LIMIT ?"
GROUP_RESULTS_AFTER = f"{RESULTS} WHERE grp = ? AND id > ? ORDER BY id LIMIT ?"
RESULT_OF = f"{RESULTS} WHERE first <= ? ORDER BY first DESC LIMIT 1"
PARTS_OF = f"{RESULTS} WHERE first = ? ORDER BY item"
PARTS_AFTER = f"{RESULTS} WHERE first = ? AND id > ? ORDER BY id LIMIT ?"
FAILED_PARTS_OF = "SELECT statuses, id FROM call_results WHERE first = ? ORDER BY item"
DROP_CONFIRMED = "DELETE FROM call_results WHERE id > ? AND id <= ? AND grp IS NULL"
CONFIRMED = "SELECT id, first, calls FROM call_results WHERE id > ? AND id <= ? AND grp IS NULL"
# Of groups: what is held for one call only, when that is over and its client has all of it.
CONFIRMED_HOLDS = (
    "SELECT DISTINCT h.call, h.holder FROM call_results r JOIN call_holds h"
    " ON h.call BETWEEN r.first AND r.first + r.calls - 1"
    " WHERE r.id > ? AND r.id <= ? AND r.grp IS NOT NULL AND substr(h.holder, 1, 5) = 'call_'"
    " AND NOT EXISTS (SELECT 1 FROM call_blocks b WHERE b.id = h.call)"
    " AND NOT EXISTS (SELECT 1 FROM call_results p WHERE p.first = r.first AND p.id > ?)"
)
DROP_RESULT = "DELETE FROM call_results WHERE id = ?"
GROUP_RESULTS = "SELECT id, first, calls FROM call_results WHERE grp = ? LIMIT ?"
SESSION_RESULTS = "SELECT id, first, calls FROM call_results WHERE id BETWEEN ? AND ? LIMIT ?"

ADD_OUTPUT = _insert("call_outputs", "call", "grp", "item", "stream", "data")
DROP_OUTPUTS = "DELETE FROM call_outputs WHERE call BETWEEN ? AND ?"
OUTPUT_COLUMNS = "id, call, grp, item, stream, data"
OUTPUTS_OF_CALL = (
    f"SELECT {OUTPUT_COLUMNS} FROM call_outputs WHERE call = ? AND id > ? ORDER BY id LIMIT ?"
)
OUTPUTS_OF_GROUP = (
    f"SELECT {OUTPUT_COLUMNS} FROM call_outputs WHERE grp = ? AND id > ? ORDER BY id LIMIT ?"
)

ADD_CALL_EVENT = _insert("call_events", "call", "grp", "at", "item", "attempt", "reason")
DROP_CALL_EVENTS = "DELETE FROM call_events WHERE call BETWEEN ? AND ?"
_CALL_EVENTS = "SELECT id, call, grp, at, item, attempt, reason FROM call_events"
EVENTS_OF_CALL = f"{_CALL_EVENTS} WHERE call = ? AND id > ? ORDER BY id LIMIT ?"
EVENTS_OF_GROUP = f"{_CALL_EVENTS} WHERE grp = ? AND id > ? ORDER BY id LIMIT ?"
ADD_POOL_EVENT = _insert("pool_events", "pool", "at", "state", "job_id", "reason")
DROP_POOL_EVENTS = "DELETE FROM pool_events WHERE at < ?"
EVENTS_OF_POOL = (
    "SELECT id, pool, at, state, job_id, reason FROM pool_events"
    " WHERE pool = ? AND id > ? ORDER BY id LIMIT ?"
)

POOL_COLUMNS = (
    "id, key, project, owner, request_id, body, state, job_id, generation, created_at, reason,"
    " refusal"
)
PUT_POOL = _replace("pools", ("id",), *POOL_COLUMNS.split(", ")[1:])
POOLS = f"SELECT {POOL_COLUMNS} FROM pools ORDER BY created_at, id"

# Of calls in no group, kept for their name: as if each session had a group 0 of them.
OLD_NAMED = (
    "SELECT id, first, calls FROM call_results WHERE grp IN (SELECT number << 40 FROM"
    " call_sessions) AND ended_at < ? LIMIT ?"
)
OLD_GROUPS = "SELECT id FROM call_groups WHERE ended_at < ? ORDER BY ended_at LIMIT ?"
DROP_GROUP = "DELETE FROM call_groups WHERE id = ?"
OLD_SESSIONS = "SELECT number FROM call_sessions WHERE seen_at < ? ORDER BY seen_at LIMIT ?"
DROP_SESSION = "DELETE FROM call_sessions WHERE number = ?"
DROP_SPECS = "DELETE FROM call_specs WHERE session = ?"
DROP_GROUPS = "DELETE FROM call_groups WHERE id BETWEEN ? AND ?"
DROP_UNUSED_FUNCTIONS = (
    "DELETE FROM call_functions WHERE stored_at < ?"
    " AND digest NOT IN (SELECT function FROM call_specs)"
)
