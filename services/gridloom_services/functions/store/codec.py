"""Rows as the database has them, from and to values."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from gridloom_services.functions.call import (
    Attempts,
    CallSpec,
    Function,
    Retries,
    split_stored_id,
)
from gridloom_services.functions.packing import pack, unpack
from gridloom_services.functions.ranges import Ranges
from gridloom_services.functions.store.rows import (
    AttemptRow,
    BlockRow,
    CallEventRow,
    GroupRow,
    HoldRow,
    OutputRow,
    PoolEventRow,
    PoolRow,
    ResultRow,
    SessionRow,
    SpecRow,
)

if TYPE_CHECKING:
    from gridloom_services.common.cursor import Row

_COLUMNS_OF_SPEC = ("number", "function", "pool_id", "group", "retries")


def session_tuple(row: SessionRow) -> Row:
    """In the order of SESSION_COLUMNS."""
    return (
        *(row.number, row.key, row.name, row.project, row.owner, row.python),
        *(row.last_sequence, row.result_number, row.confirmed, row.created_at, row.seen_at),
    )


def session_row(row: Row) -> SessionRow:
    """The other way."""
    return SessionRow(*row)


def function_tuple(row: Function, stored_at: float) -> Row:
    """In the order of ADD_FUNCTION."""
    bundle = (row.bundle_digest, row.bundle_bytes)
    return (row.digest, row.name, row.python, *bundle, stored_at, row.code)


def function_row(row: Row) -> Function:
    """From FUNCTION's columns, or FUNCTIONS' (without the code)."""
    return Function(*row)


def spec_tuple(row: SpecRow) -> Row:
    """In the order of SPEC_COLUMNS; what need not be searched for is one text."""
    spec = row.spec
    rest = {name: value for name, value in asdict(spec).items() if name not in _COLUMNS_OF_SPEC}
    options = json.dumps({**rest, "retries": asdict(spec.retries)}, separators=(",", ":"))
    return (row.session, spec.number, spec.function, spec.pool_id, spec.group, options)


def spec_row(row: Row) -> SpecRow:
    """The other way."""
    session, number, function, pool_id, group, options = row
    rest: dict[str, Any] = json.loads(options)
    retries = Retries(**rest.pop("retries"))
    return SpecRow(session, CallSpec(number, function, pool_id, group, retries=retries, **rest))


def group_tuple(row: GroupRow) -> Row:
    """In the order of GROUP_COLUMNS."""
    return (
        *(row.id, row.name, row.kind, row.project, row.function, row.accepted, row.succeeded),
        *(row.failed, row.cancelled, int(row.sealed), row.created_at, row.ended_at),
    )


def group_row(row: Row) -> GroupRow:
    """The other way."""
    return replace(GroupRow(*row), sealed=bool(row[9]))


def block_tuple(row: BlockRow) -> Row:
    """In the order of BLOCK_COLUMNS."""
    return (
        *(row.id, row.spec, row.calls, row.items, row.needs, row.offset, row.accepted_at),
        pack(row.arguments),
    )


def block_row(row: Row) -> BlockRow:
    """From a block's columns and what is done of it."""
    block_id, spec, calls, items, needs, offset, accepted_at, arguments, done = row
    return BlockRow(
        *(block_id, spec, items, needs, offset, accepted_at, unpack(arguments, calls)),
        done=None if done is None else Ranges.unpack(done),
    )


def attempt_tuple(row: AttemptRow) -> Row:
    """In the order of ATTEMPT_COLUMNS."""
    runs = row.attempts
    return (
        *(row.block, row.position, runs.errors, runs.deaths, runs.timeouts, runs.out_of_memory),
        *(int(row.isolated), int(row.begun), row.not_before),
    )


def attempt_row(row: Row) -> AttemptRow:
    """The other way."""
    block, position, errors, deaths, timeouts, out_of_memory, isolated, begun, not_before = row
    attempts = Attempts(errors, deaths, timeouts, out_of_memory)
    return AttemptRow(block, position, attempts, bool(isolated), bool(begun), not_before)


def result_tuple(row: ResultRow) -> Row:
    """In the order of RESULT_COLUMNS."""
    item, items = row.items or (0, 0)
    first = row.session << 40 | row.first
    return (
        *(row.id, first, row.calls, item, items, row.statuses, row.group or None, row.offset),
        *(row.ended_at, pack(list(row.values)), row.accepted_at),
    )


def result_row(row: Row) -> ResultRow:
    """The other way."""
    result_id, first, _, item, items, statuses, group, offset, ended_at, data, accepted_at = row
    session, number = split_stored_id(result_id)
    return ResultRow(
        session,
        number,
        first=split_stored_id(first)[1],
        items=(item, items) if items else None,
        statuses=statuses,
        values=unpack(data, len(statuses)),
        group=group or 0,
        offset=offset,
        ended_at=ended_at,
        accepted_at=accepted_at,
    )


def hold_tuple(row: HoldRow) -> Row:
    """Call, holder, digests."""
    return (row.call, row.holder, " ".join(row.digests))


def hold_row(row: Row) -> HoldRow:
    """The other way."""
    return HoldRow(row[0], row[1], tuple(row[2].split()))


def output_tuple(row: OutputRow) -> Row:
    """In the order of ADD_OUTPUT."""
    return (row.call, row.group or None, row.item, row.stream, row.data)


def output_row(row: Row) -> tuple[int, OutputRow]:
    """With its number."""
    return row[0], OutputRow(row[1], row[2] or 0, *row[3:])


def call_event_tuple(row: CallEventRow) -> Row:
    """In the order of ADD_CALL_EVENT."""
    return (row.call, row.group or None, row.at, row.item, row.attempt, row.reason)


def call_event_row(row: Row) -> tuple[int, CallEventRow]:
    """With its number."""
    return row[0], CallEventRow(row[1], row[2] or 0, *row[3:])


def pool_event_tuple(row: PoolEventRow) -> Row:
    """In the order of ADD_POOL_EVENT."""
    return (row.pool, row.at, row.state, row.job_id, row.reason)


def pool_event_row(row: Row) -> tuple[int, PoolEventRow]:
    """With its number."""
    return row[0], PoolEventRow(*row[1:])


def pool_tuple(row: PoolRow) -> Row:
    """In the order of POOL_COLUMNS."""
    return (
        *(row.id, row.key, row.project, row.owner, row.request_id, row.body, row.state),
        *(row.job_id, row.generation, row.created_at, row.reason, row.refusal),
    )


def pool_row(row: Row) -> PoolRow:
    """The other way."""
    return PoolRow(*row)
