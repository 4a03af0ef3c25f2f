"""The store on SQLite (embedded) and PostgreSQL (served), by the same statements.

They are text for the driver: an embedded platform runs its first job before SQLAlchemy would be
imported. `tables.py` describes the tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from gridloom_services.common.cursor import insert, marks, quoted
from gridloom_services.scheduler.selector import Operator, Requirement
from gridloom_services.scheduler.store import compacting, pruning, rows
from gridloom_services.scheduler.store.base import (
    BEGINNING,
    Changes,
    Contents,
    Place,
    StaleEpochError,
)
from gridloom_services.scheduler.store.schema import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from gridloom_services.common.cursor import Cursor, Row
    from gridloom_services.common.store import Database
    from gridloom_services.scheduler.job import Event, GangEnd, Job, KeptStream
    from gridloom_services.scheduler.query import JobQuery

# As a literal, so that the partial index on unfinished jobs is used.
_IS_LIVE = "state < 5"
_JOBS = "SELECT * FROM jobs WHERE"
_ENDS = "SELECT * FROM gang_ends WHERE"
_EVENTS = "SELECT * FROM job_events WHERE"
_TOUCHES = "((element <= ? AND ? < element + elements) OR (element IS NULL AND before IS NULL))"
_KEYS = {
    "gangs": ("sequence", "element"),
    "job_tries": ("sequence", "element"),
    "job_queues": ("project", "name"),
    "job_promises": ("job_id", "element"),
    "gang_streams": ("gang", "name"),
}

Rows = list[dict[str, Any]]


class SqlStore:
    """A `Store` in a database.

    Each instance is one term of leadership: it takes the next epoch, and from then on a write of an
    older instance, in whatever process, is refused with StaleEpochError.
    """

    def __init__(self, database: Database, epoch: int) -> None:
        """For `open`."""
        self._database = database
        self._epoch = epoch

    @classmethod
    async def open(cls, database: Database) -> Self:
        """Begin a term."""
        return cls(database, await database.next_epoch())

    # ---- what a restart reads

    async def load(self) -> Contents:
        """Return everything that is not over."""
        return await self._database.run(_load)

    # ---- writing

    async def write(self, changes: Changes) -> None:
        """Make these changes durable, together."""
        await self._database.run(lambda cursor: self._write(cursor, changes))

    def _write(self, cursor: Cursor, changes: Changes) -> None:
        self._check_epoch(cursor)
        added = list(changes.added.values())
        insert(cursor, "jobs", rows.job_rows(added))
        insert(cursor, "job_labels", [row for job in added for row in rows.label_rows(job)])
        _update_jobs(cursor, list(changes.changed.values()))
        insert(cursor, "job_events", [rows.event_row(event) for event in changes.events])
        insert(cursor, "gang_ends", [rows.end_row(end) for end in changes.ends])
        _write_keyed(cursor, changes)

    def _check_epoch(self, cursor: Cursor) -> None:
        ((epoch,),) = cursor.all(f"SELECT epoch FROM {SCHEMA.epoch_table}")  # noqa: S608
        if epoch != self._epoch:
            raise StaleEpochError(f"epoch {epoch} has begun; this scheduler is of {self._epoch}")

    # ---- questions

    async def jobs(self, job_ids: frozenset[str]) -> dict[str, Job]:
        """Return those that exist."""
        found = await self._jobs(*_among("id", job_ids))
        return {job.id: job for job in found}

    async def requests(self, project: str, request_ids: frozenset[str]) -> dict[str, Job]:
        """Return the jobs that these requests made."""
        condition, values = _among("request_id", request_ids - {""})
        # The last part is as the index says it.
        where = f"project = ? AND {condition} AND request_id <> ''"
        found = await self._jobs(where, (project, *values))
        return {job.spec.request_id: job for job in found}

    async def page(self, query: JobQuery, before: int | None, limit: int) -> list[Job]:
        """Return the newest first."""
        conditions = _conditions(query)
        if before is not None:
            conditions.append(("sequence < ?", (before,)))
        where = " AND ".join(condition for condition, _ in conditions) or "1 = 1"
        values = tuple(value for _, values in conditions for value in values)
        return await self._jobs(f"{where} ORDER BY sequence DESC LIMIT ?", (*values, limit))

    async def ends(self, sequence: int, element: int | None = None) -> list[GangEnd]:
        """Return ended attempts."""
        where = "sequence = ?" if element is None else "sequence = ? AND element = ?"
        values = (sequence,) if element is None else (sequence, element)
        return await self._ends(f"{where} ORDER BY element, attempt", values)

    async def last_ends(self, sequences: frozenset[int]) -> dict[int, GangEnd]:
        """Return each job's newest ended attempt."""
        condition, values = _among("sequence", sequences)
        found = await self._ends(f"{condition} AND element = 0 ORDER BY attempt", values)
        return {end.sequence: end for end in found}

    async def history(
        self, sequence: int, after: int, limit: int, element: int | None = None
    ) -> list[Event]:
        """Return a job's events."""
        touches, elements = ("", ()) if element is None else (f" AND {_TOUCHES}", (element,) * 2)
        where = f"sequence = ? AND revision > ?{touches} ORDER BY revision LIMIT ?"
        return await self._events(where, (sequence, after, *elements, limit))

    async def events_after(self, revision: int, limit: int) -> list[Event]:
        """Return all jobs' events."""
        return await self._events("revision > ? ORDER BY revision LIMIT ?", (revision, limit))

    async def keep_streams(self, gang: str, streams: Mapping[str, KeptStream]) -> None:
        """Keep where streams are."""
        values = {(gang, name): rows.stream_row(gang, name, kept) for name, kept in streams.items()}
        await self._database.run(lambda cursor: _replace(cursor, "gang_streams", values))

    async def kept_stream(self, gang: str, name: str) -> KeptStream | None:
        """Return where a stream is."""
        query = "SELECT * FROM gang_streams WHERE gang = ? AND name = ?"
        found = await self._database.run(lambda cursor: list(cursor.named(query, gang, name)))
        return rows.stream_of(found[0]) if found else None

    async def compacted(self) -> int:
        """Return the newest revision that is gone."""
        return await self._database.run(compacting.compacted)

    async def compact(self, before_us: int, limit: int, after: Place = BEGINNING) -> Place | None:
        """Let go of events of jobs long over."""
        return await self._database.run(
            lambda cursor: compacting.compact(cursor, before_us, limit, after)
        )

    async def horizon(self, before_us: int, most: int) -> int:
        """Return when jobs must have ended to go."""
        return await self._database.run(lambda cursor: pruning.horizon(cursor, before_us, most))

    async def prune(self, before_us: int, limit: int, spared: frozenset[str]) -> int:
        """Remove some rows of the jobs that ended first."""
        return await self._database.run(
            lambda cursor: self._prune(cursor, before_us, limit, spared)
        )

    def _prune(self, cursor: Cursor, before_us: int, limit: int, spared: frozenset[str]) -> int:
        self._check_epoch(cursor)
        return pruning.prune(cursor, before_us, limit, spared)

    async def leavings(self, limit: int) -> list[str]:
        """Return jobs that are gone and have left something elsewhere."""
        query = "SELECT id FROM job_leavings ORDER BY id LIMIT ?"
        return await self._database.run(lambda cursor: [row[0] for row in cursor.all(query, limit)])

    async def cleared(self, job_ids: Sequence[str]) -> None:
        """Take note that nothing of these is left."""
        gone = [(job_id,) for job_id in job_ids]
        await self._database.run(
            lambda cursor: cursor.many("DELETE FROM job_leavings WHERE id = ?", gone)
        )

    async def _jobs(self, where: str, values: Row) -> list[Job]:
        query = f"{_JOBS} {where}"
        return await self._database.run(
            lambda cursor: [rows.job_of(row) for row in cursor.named(query, *values)]
        )

    async def _ends(self, where: str, values: Row) -> list[GangEnd]:
        query = f"{_ENDS} {where}"
        return await self._database.run(
            lambda cursor: [rows.end_of(row) for row in cursor.named(query, *values)]
        )

    async def _events(self, where: str, values: Row) -> list[Event]:
        query = f"{_EVENTS} {where}"
        return await self._database.run(
            lambda cursor: [rows.event_of(row) for row in cursor.named(query, *values)]
        )


def _update_jobs(cursor: Cursor, changed: Sequence[Job]) -> None:
    if not changed:
        return
    values = [(rows.job_changes(job), job.sequence) for job in changed]
    columns = ", ".join(f"{quoted(name)} = ?" for name in values[0][0])
    statement = f"UPDATE jobs SET {columns} WHERE sequence = ?"  # noqa: S608
    cursor.many(statement, [(*row.values(), sequence) for row, sequence in values])


def _write_keyed(cursor: Cursor, changes: Changes) -> None:
    """Write the rows that come, change and go: each is deleted first, which any database can."""
    _replace(
        cursor,
        "gangs",
        {unit: rows.gang_row(live) if live else None for unit, live in changes.gangs.items()},
    )
    _replace(
        cursor,
        "job_tries",
        {unit: rows.tries_row(unit, tries) for unit, tries in changes.tries.items()},
    )
    _replace(
        cursor,
        "job_queues",
        {key: rows.queue_row(queue) if queue else None for key, queue in changes.queues.items()},
    )
    _replace(
        cursor,
        "job_promises",
        {key: rows.promise_row(each) if each else None for key, each in changes.promises.items()},
    )


def _replace(
    cursor: Cursor, table: str, values: Mapping[tuple[Any, ...], dict[str, Any] | None]
) -> None:
    if not values:
        return
    condition = " AND ".join(f"{name} = ?" for name in _KEYS[table])
    cursor.many(f"DELETE FROM {table} WHERE {condition}", list(values))  # noqa: S608
    insert(cursor, table, [row for row in values.values() if row is not None])


def _load(cursor: Cursor) -> Contents:
    live_jobs = f"SELECT sequence FROM jobs WHERE {_IS_LIVE}"  # noqa: S608
    tries = f"SELECT * FROM job_tries WHERE sequence IN ({live_jobs})"  # noqa: S608
    ((sequence,),) = cursor.all("SELECT max(sequence) FROM jobs")
    ((revision,),) = cursor.all("SELECT max(revision) FROM job_events")
    live = cursor.named(f"{_JOBS} {_IS_LIVE} ORDER BY sequence")
    return Contents(
        jobs=tuple(map(rows.job_of, live)),
        gangs=tuple(map(rows.gang_of, cursor.named("SELECT * FROM gangs"))),
        tries={(row.sequence, row.element): rows.tries_of(row) for row in cursor.named(tries)},
        queues=tuple(map(rows.queue_of, cursor.named("SELECT * FROM job_queues"))),
        promises=tuple(map(rows.promise_of, cursor.named("SELECT * FROM job_promises"))),
        sequence=sequence or 0,
        revision=max(revision or 0, compacting.compacted(cursor)),
    )


Condition = tuple[str, tuple[Any, ...]]


def _among(column: str, values: Collection[Any]) -> Condition:
    """Return the condition that a column has one of these values."""
    if not values:
        return "1 = 0", ()
    return f"{column} IN {marks(len(values))}", tuple(values)


def _conditions(query: JobQuery) -> list[Condition]:
    """Return what `JobQuery.matches` asks, for the database."""
    equal = {name: getattr(query, name) for name in ("project", "queue", "owner", "kind")}
    found: list[Condition] = [(f"{name} = ?", (value,)) for name, value in equal.items() if value]
    if query.states:
        found.append(_among("state", [int(state) for state in query.states]))
        if not any(state.is_final for state in query.states):
            found.append((_IS_LIVE, ()))
    if query.job_ids:
        found.append(_among("id", query.job_ids))
    return found + [_label_condition(each) for each in query.labels]


def _label_condition(requirement: Requirement) -> Condition:
    carries, values = "job_labels.sequence = jobs.sequence AND key = ?", (requirement.key,)
    if requirement.operator in {Operator.IN, Operator.NOT_IN}:
        among, several = _among("value", requirement.values)
        carries, values = f"{carries} AND {among}", (*values, *several)
    is_wanted = requirement.operator in {Operator.IN, Operator.EXISTS}
    found = f"EXISTS (SELECT 1 FROM job_labels WHERE {carries})"  # noqa: S608
    return found if is_wanted else f"NOT {found}", values
