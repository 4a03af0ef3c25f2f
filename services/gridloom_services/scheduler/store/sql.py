"""The store on SQLite (embedded) and PostgreSQL (served), by the same statements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    Table,
    bindparam,
    delete,
    func,
    insert,
    not_,
    or_,
    select,
    text,
    update,
)

from gridloom_services.common.schema import Schema
from gridloom_services.scheduler.selector import Operator, Requirement
from gridloom_services.scheduler.store import rows, tables
from gridloom_services.scheduler.store.base import Changes, Contents, StaleEpochError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom_services.common.store import Database
    from gridloom_services.scheduler.job import Event, GangEnd, Job
    from gridloom_services.scheduler.query import JobQuery

SCHEMA = Schema("scheduler", tables.metadata, Path(__file__).parent / "migrations")

_COMPACTED = "compacted"
_JOB, _EVENT, _END, _LABEL = (
    table.c for table in (tables.jobs, tables.events, tables.ends, tables.labels)
)
# As a literal, so that the partial index on unfinished jobs is used.
_IS_LIVE = text("state < 5")
_UPDATE_JOB = update(tables.jobs).where(_JOB.sequence == bindparam("job"))

Rows = list[dict[str, Any]]


def _delete_by(table: Table, *names: str) -> Delete:
    """Return the statement that deletes one row by these columns, given as "the_NAME"."""
    return delete(table).where(*(table.c[name] == bindparam(f"the_{name}") for name in names))


_DELETE_GANG = _delete_by(tables.gangs, "sequence", "element")
_DELETE_TRIES = _delete_by(tables.tries, "sequence", "element")
_DELETE_QUEUE = _delete_by(tables.queues, "project", "name")
_DELETE_PROMISE = _delete_by(tables.promises, "job_id", "element")


class SqlStore:
    """A `Store` in a database.

    Each instance is one term of leadership: it takes the next epoch, and from then on a write of an
    older instance, in whatever process, is refused with StaleEpochError.
    """

    def __init__(self, database: Database, epoch: int) -> None:
        """For `open`."""
        self._database = database
        self._epoch = epoch
        self._epoch_query = text(f"SELECT epoch FROM {SCHEMA.epoch_table}")  # noqa: S608

    @classmethod
    async def open(cls, database: Database) -> Self:
        """Begin a term."""
        return cls(database, await database.next_epoch())

    # ---- what a restart reads

    async def load(self) -> Contents:
        """Return everything that is not over."""
        return await self._database.read(_load)

    # ---- writing

    async def write(self, changes: Changes) -> None:
        """Make these changes durable, together."""
        await self._database.write(lambda connection: self._write(connection, changes))

    def _write(self, connection: Connection, changes: Changes) -> None:
        epoch = connection.execute(self._epoch_query).scalar_one()
        if epoch != self._epoch:
            raise StaleEpochError(f"epoch {epoch} has begun; this scheduler is of {self._epoch}")
        added = list(changes.added.values())
        _insert(connection, tables.jobs, [rows.job_row(job) for job in added])
        _insert(connection, tables.labels, [row for job in added for row in rows.label_rows(job)])
        if changes.changed:
            connection.execute(
                _UPDATE_JOB,
                [
                    {"job": job.sequence, **rows.job_changes(job)}
                    for job in changes.changed.values()
                ],
            )
        _insert(connection, tables.events, [rows.event_row(event) for event in changes.events])
        _insert(connection, tables.ends, [rows.end_row(end) for end in changes.ends])
        _write_keyed(connection, changes)

    # ---- questions

    async def jobs(self, job_ids: frozenset[str]) -> dict[str, Job]:
        """Return those that exist."""
        query = select(tables.jobs).where(_JOB.id.in_(job_ids))
        found = await self._database.read(lambda c: c.execute(query).all())
        return {row.id: rows.job_of(row) for row in found}

    async def requests(self, project: str, request_ids: frozenset[str]) -> dict[str, Job]:
        """Return the jobs that these requests made."""
        query = select(tables.jobs).where(
            _JOB.project == project,
            _JOB.request_id.in_(request_ids - {""}),
            text("request_id <> ''"),  # as the index says it
        )
        found = await self._database.read(lambda c: c.execute(query).all())
        return {row.request_id: rows.job_of(row) for row in found}

    async def page(self, query: JobQuery, before: int | None, limit: int) -> list[Job]:
        """Return the newest first."""
        conditions = _conditions(query)
        if before is not None:
            conditions.append(_JOB.sequence < before)
        statement = (
            select(tables.jobs).where(*conditions).order_by(_JOB.sequence.desc()).limit(limit)
        )
        found = await self._database.read(lambda c: c.execute(statement).all())
        return [rows.job_of(row) for row in found]

    async def ends(self, sequence: int, element: int | None = None) -> list[GangEnd]:
        """Return ended attempts."""
        query = select(tables.ends).where(_END.sequence == sequence)
        if element is not None:
            query = query.where(_END.element == element)
        query = query.order_by(_END.element, _END.attempt)
        return [
            rows.end_of(row) for row in await self._database.read(lambda c: c.execute(query).all())
        ]

    async def last_ends(self, sequences: frozenset[int]) -> dict[int, GangEnd]:
        """Return each job's newest ended attempt."""
        query = (
            select(tables.ends)
            .where(_END.sequence.in_(sequences), _END.element == 0)
            .order_by(_END.attempt)
        )
        found = await self._database.read(lambda c: c.execute(query).all())
        return {row.sequence: rows.end_of(row) for row in found}

    async def history(
        self, sequence: int, after: int, limit: int, element: int | None = None
    ) -> list[Event]:
        """Return a job's events."""
        query = select(tables.events).where(_EVENT.sequence == sequence, _EVENT.revision > after)
        if element is not None:
            touched = (_EVENT.element <= element) & (element < _EVENT.element + _EVENT.elements)
            query = query.where(or_(touched, _EVENT.element.is_(None) & _EVENT.before.is_(None)))
        return await self._events(query.order_by(_EVENT.revision).limit(limit))

    async def events_after(self, revision: int, limit: int) -> list[Event]:
        """Return all jobs' events."""
        query = select(tables.events).where(_EVENT.revision > revision)
        return await self._events(query.order_by(_EVENT.revision).limit(limit))

    async def _events(self, query: Any) -> list[Event]:
        found = await self._database.read(lambda c: c.execute(query).all())
        return [rows.event_of(row) for row in found]

    async def compacted(self) -> int:
        """Return the newest revision that is gone."""
        return await self._database.read(_compacted)

    async def compact(self, before_us: int) -> int:
        """Let go of events of jobs long over."""
        return await self._database.write(lambda connection: _compact(connection, before_us))


def _insert(connection: Connection, table: Table, values: Rows) -> None:
    if values:
        connection.execute(insert(table), values)


def _write_keyed(connection: Connection, changes: Changes) -> None:
    """Write the rows that come, change and go: each is deleted first, which any database can."""
    _replace(
        connection,
        tables.gangs,
        _DELETE_GANG,
        {unit: rows.gang_row(live) if live else None for unit, live in changes.gangs.items()},
    )
    _replace(
        connection,
        tables.tries,
        _DELETE_TRIES,
        {unit: rows.tries_row(unit, tries) for unit, tries in changes.tries.items()},
    )
    _replace(
        connection,
        tables.queues,
        _DELETE_QUEUE,
        {key: rows.queue_row(queue) if queue else None for key, queue in changes.queues.items()},
    )
    _replace(
        connection,
        tables.promises,
        _DELETE_PROMISE,
        {key: rows.promise_row(each) if each else None for key, each in changes.promises.items()},
    )


def _replace(
    connection: Connection,
    table: Table,
    statement: Delete,
    values: Mapping[tuple[Any, ...], dict[str, Any] | None],
) -> None:
    if not values:
        return
    names = [f"the_{column.name}" for column in table.primary_key]
    connection.execute(statement, [dict(zip(names, key, strict=True)) for key in values])
    _insert(connection, table, [row for row in values.values() if row is not None])


def _load(connection: Connection) -> Contents:
    live = select(tables.jobs).where(_IS_LIVE).order_by(_JOB.sequence)
    tries = select(tables.tries).where(
        tables.tries.c.sequence.in_(select(_JOB.sequence).where(_IS_LIVE))
    )
    sequence = connection.execute(select(func.max(_JOB.sequence))).scalar()
    revision = connection.execute(select(func.max(_EVENT.revision))).scalar()
    return Contents(
        jobs=tuple(rows.job_of(row) for row in connection.execute(live)),
        gangs=tuple(rows.gang_of(row) for row in connection.execute(select(tables.gangs))),
        tries={
            (row.sequence, row.element): rows.tries_of(row) for row in connection.execute(tries)
        },
        queues=tuple(rows.queue_of(row) for row in connection.execute(select(tables.queues))),
        promises=tuple(rows.promise_of(row) for row in connection.execute(select(tables.promises))),
        sequence=sequence or 0,
        revision=max(revision or 0, _compacted(connection)),
    )


def _conditions(query: JobQuery) -> list[ColumnElement[bool]]:
    """Return what `JobQuery.matches` asks, for the database."""
    equal = {_JOB.project: query.project, _JOB.queue: query.queue}
    equal |= {_JOB.owner: query.owner, _JOB.kind: query.kind}
    found: list[Any] = [column == value for column, value in equal.items() if value]
    if query.states:
        found.append(_JOB.state.in_(query.states))
        if not any(state.is_final for state in query.states):
            found.append(_IS_LIVE)
    if query.job_ids:
        found.append(_JOB.id.in_(query.job_ids))
    return found + [_label_condition(each) for each in query.labels]


def _label_condition(requirement: Requirement) -> ColumnElement[bool]:
    carries = select(_LABEL.sequence).where(
        _LABEL.sequence == _JOB.sequence, _LABEL.key == requirement.key
    )
    if requirement.operator in {Operator.IN, Operator.NOT_IN}:
        carries = carries.where(_LABEL.value.in_(requirement.values))
    found = carries.exists()
    wanted = requirement.operator in {Operator.IN, Operator.EXISTS}
    return found if wanted else not_(found)


def _compacted(connection: Connection) -> int:
    facts = tables.facts.c
    query = select(facts.value).where(facts.name == _COMPACTED)
    return int(connection.execute(query).scalar() or 0)


def _compact(connection: Connection, before_us: int) -> int:
    old = _EVENT.sequence.in_(select(_JOB.sequence).where(_JOB.ended_us < before_us))
    newest = connection.execute(select(func.max(_EVENT.revision)).where(old)).scalar()
    if newest is None:
        return _compacted(connection)
    connection.execute(delete(tables.events).where(old))
    value = max(int(newest), _compacted(connection))
    connection.execute(delete(tables.facts).where(tables.facts.c.name == _COMPACTED))
    connection.execute(insert(tables.facts).values(name=_COMPACTED, value=value))
    return value
