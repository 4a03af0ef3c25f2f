"""What is read from the tables."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from gridloom_services.functions.call import Status, split_stored_id, stored_id
from gridloom_services.functions.packing import unpack_one
from gridloom_services.functions.ranges import Ranges
from gridloom_services.functions.store import codec
from gridloom_services.functions.store import statements as sql
from gridloom_services.functions.store.rows import (
    AttemptPlace,
    Found,
    InputRow,
    LaneExtent,
    Recovered,
    Refill,
    Upstream,
    WaitingRow,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gridloom_services.common.cursor import Cursor, Row
    from gridloom_services.functions.store.rows import (
        BlockRow,
        CallEventRow,
        EventQuery,
        PoolEventRow,
        Reads,
        ResultQuery,
        ResultRow,
    )

_PAGE = 16
"""Rows asked for at a time, where a few large ones or many small ones may come."""


def read(cursor: Cursor, reads: Reads) -> Found:
    """Answer everything that is asked right after a commit."""
    return Found(
        refills=[_refill(cursor, refill) for refill in reads.refills],
        recalls=[_recall(cursor, *recall) for recall in reads.recalls],
        blocked=[
            (block, [_upstream(cursor, call) for call in calls]) for block, calls in reads.blocked
        ],
    )


def _refill(cursor: Cursor, refill: Refill) -> tuple[list[BlockRow], bool]:
    first = stored_id(refill.session, refill.first)
    last = stored_id(refill.session, refill.last)
    found: list[BlockRow] = []
    calls = 0
    while calls < refill.calls:
        rows = cursor.all(sql.NEXT_BLOCKS, first, last, refill.spec, _PAGE)
        for row in rows:
            block = codec.block_row(row)
            found.append(block)
            calls += block.calls
            first = block.id + 1
            if calls >= refill.calls:
                return found, False
        if len(rows) < _PAGE:
            return found, True
    return found, False


def _recall(cursor: Cursor, block_id: int, with_inputs: bool) -> BlockRow | None:  # noqa: FBT001
    row = cursor.one(sql.BLOCK, block_id)
    if row is None:
        return None
    block = codec.block_row(row)
    if block.needs and with_inputs:
        upstreams = [found[0] for found in cursor.all(sql.DEPENDENCIES_OF, block_id)]
        block.inputs = [_input(cursor, call) for call in upstreams]
    return block


def _input(cursor: Cursor, call: int) -> InputRow:
    """What a call that has ended well returned."""
    row = _run_of(cursor, call)
    assert row is not None
    if not row[4]:
        return InputRow((_value(row, call),), chunked=False)
    parts = [codec.result_row(part) for part in cursor.all(sql.PARTS_OF, row[1])]
    return InputRow(tuple(part.values[0] for part in parts), chunked=True)


def _upstream(cursor: Cursor, call: int) -> Upstream:
    """Where a call stands."""
    if is_unfinished(cursor, call):
        return Upstream(call, None)
    row = _run_of(cursor, call)
    if row is None:
        return Upstream(call, Status.REFUSED)
    if not row[4]:
        status = Status(row[5][call - row[1]])
        return Upstream(call, status, b"" if status is Status.OK else _value(row, call))
    for statuses, result_id in cursor.all(sql.FAILED_PARTS_OF, row[1]):
        if statuses[0] != Status.OK:
            failed = cursor.one(f"{sql.RESULTS} WHERE id = ?", result_id)
            assert failed is not None
            return Upstream(call, Status(statuses[0]), codec.result_row(failed).values[0])
    return Upstream(call, Status.OK)


def _run_of(cursor: Cursor, call: int) -> Row | None:
    """The run of results that has a call's, or one of its parts."""
    row = cursor.one(sql.RESULT_OF, call)
    return row if row is not None and row[1] <= call < row[1] + row[2] else None


def _value(row: Row, call: int) -> bytes:
    return unpack_one(row[9], len(row[5]), call - row[1])


def block_of(cursor: Cursor, call: int) -> BlockRow | None:
    """The block that holds a call which has not ended."""
    row = cursor.one(sql.BLOCK_OF, call)
    if row is None or not row[0] <= call < row[0] + row[2]:
        return None
    block = codec.block_row(row)
    if not block.items and block.done is not None and call - block.id in block.done:
        return None
    block.attempts = [codec.attempt_row(found) for found in cursor.all(sql.ATTEMPTS_OF, row[0])]
    return block


def is_unfinished(cursor: Cursor, call: int) -> bool:
    """Whether a call is known and has not ended."""
    return block_of(cursor, call) is not None


def _is_known(cursor: Cursor, call: int) -> bool:
    """Whether a call waits, runs, or has results that are kept."""
    return is_unfinished(cursor, call) or _run_of(cursor, call) is not None


def results(cursor: Cursor, query: ResultQuery) -> list[ResultRow]:
    """At least one where there is any, then as many as the limits allow."""
    found: list[ResultRow] = []
    calls = size = 0
    for row in _result_rows(cursor, query):
        result = codec.result_row(row)
        found.append(result)
        calls += len(result.statuses)
        size += len(row[9])
        if calls >= query.calls or size >= query.value_bytes:
            break
    return found


def _result_rows(cursor: Cursor, query: ResultQuery) -> Iterator[Row]:
    after = stored_id(query.session, query.after)
    if query.call:
        yield from _rows_of_call(cursor, query.call, after)
        return
    while True:
        if query.group:
            rows = cursor.all(sql.GROUP_RESULTS_AFTER, query.group, after, _PAGE)
        else:
            last = stored_id(query.session + 1, 0) - 1
            rows = cursor.all(sql.RESULTS_AFTER, after, last, _PAGE)
        yield from rows
        if len(rows) < _PAGE:
            return
        after = rows[-1][0]


def _rows_of_call(cursor: Cursor, call: int, after: int) -> Iterator[Row]:
    """A plain call's result is cut out of its run."""
    row = _run_of(cursor, call)
    if row is None:
        return
    if row[4]:
        while rows := cursor.all(sql.PARTS_AFTER, row[1], after, _PAGE):
            yield from rows
            after = rows[-1][0]
    elif row[0] > after:
        at = call - row[1]
        value = len(_value(row, call)).to_bytes(4, "little") + _value(row, call)
        offset = row[7] + at
        status = row[5][at : at + 1]
        yield (row[0], call, 1, 0, 0, status, row[6], offset, row[8], value, row[10])


def recover(cursor: Cursor) -> Recovered:
    """Everything unfinished, the calls themselves left out."""
    newest = cursor.one(sql.NEWEST_SESSION)
    done = {
        block: (spec, needs, Ranges.unpack(packed).count)
        for block, spec, needs, packed in cursor.all(sql.DONE_OF)
    }
    holds = [codec.hold_row(row) for row in cursor.all(sql.HOLDS)]
    gone = {hold.call for hold in holds if not _is_known(cursor, hold.call)}
    return Recovered(
        next_session=1 + (newest[0] if newest and newest[0] else 0),
        sessions=[codec.session_row(row) for row in cursor.all(sql.SESSIONS_IN_USE)],
        specs=[codec.spec_row(row) for row in cursor.all(sql.SPECS_IN_USE)],
        groups=[codec.group_row(row) for row in cursor.all(sql.GROUPS_IN_USE)],
        pools=[codec.pool_row(row) for row in cursor.all(sql.POOLS)],
        lanes=_extents(cursor, done),
        waiting=_waiting(cursor, done),
        attempts=[
            AttemptPlace(codec.attempt_row(row[:9]), *row[9:]) for row in cursor.all(sql.ATTEMPTS)
        ],
        holds=[hold for hold in holds if hold.call not in gone],
        released=sorted({(hold.call, hold.holder) for hold in holds if hold.call in gone}),
    )


def _extents(cursor: Cursor, done: dict[int, tuple[int, int, int]]) -> list[LaneExtent]:
    ended: dict[tuple[int, int], int] = {}
    for block, (spec, needs, count) in done.items():
        if not needs:
            key = (split_stored_id(block)[0], spec)
            ended[key] = ended.get(key, 0) + count
    return [
        LaneExtent(
            session,
            spec,
            split_stored_id(first)[1],
            split_stored_id(last)[1],
            int(size) - ended.get((session, spec), 0),
        )
        for session, spec, first, last, size in cursor.all(sql.EXTENTS)
    ]


def _waiting(cursor: Cursor, done: dict[int, tuple[int, int, int]]) -> list[WaitingRow]:
    found = []
    for key, same in groupby(cursor.all(sql.WAITING), key=lambda row: row[:4]):
        block, spec, calls, items = key
        size = items or calls
        left = size - done[block][2] if block in done else size
        upstreams = tuple(row[4] for row in same)
        found.append(WaitingRow(block, spec, items, size, left, upstreams))
    return found


def events(cursor: Cursor, query: EventQuery) -> list[tuple[int, CallEventRow | PoolEventRow]]:
    """What became of a call, of a group's calls or of a pool."""
    if query.pool:
        rows = cursor.all(sql.EVENTS_OF_POOL, query.pool, query.after, query.limit)
        return [codec.pool_event_row(row) for row in rows]
    statement = sql.EVENTS_OF_CALL if query.call else sql.EVENTS_OF_GROUP
    rows = cursor.all(statement, query.call or query.group, query.after, query.limit)
    return [codec.call_event_row(row) for row in rows]
