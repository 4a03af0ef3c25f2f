"""A service's tables and the way from older ones to them.

`migrations/` of a service holds Alembic revisions in one line, `0001_first.py`, `0002_more.py`:
revision "0001", then "0002" with `down_revision = "0001"`. A fresh store is made from the metadata
and stamped with the newest, without Alembic (its import takes longer than all the rest of the
start); a test proves that equal to running the migrations. A fresh SQLite store is made from
`migrations/head.sql`, which is what the metadata says (`make schemas` writes it, a test compares):
an embedded platform starts without SQLAlchemy too. Each service has its own version table, so that
several can share a PostgreSQL database.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from gridloom.values import dataclass

from gridloom_services.common.cursor import SqliteCursor
from gridloom_services.common.errors import CorruptStoreError, NewerStoreError

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection, MetaData

    from gridloom_services.common.cursor import Cursor

_SQLITE_TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"

# Held until the transaction ends. SQLite has one writer anyway.
_ALONE = "SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"


@dataclass(frozen=True, slots=True)
class Schema:
    """What a service keeps: its tables as they should be, and its folder of migrations."""

    service: str
    # Or the module that has it as `metadata`, which is imported when it is asked for.
    tables: MetaData | str
    migrations: Path

    @property
    def metadata(self) -> MetaData:
        """The tables, as SQLAlchemy describes them."""
        if not isinstance(self.tables, str):
            return self.tables
        found: MetaData = import_module(self.tables).metadata
        return found

    @property
    def head_file(self) -> Path:
        """The statements that make a fresh SQLite store."""
        return self.migrations / "head.sql"

    @property
    def version_table(self) -> str:
        """Where the store says which revision it has."""
        return f"gridloom_{self.service}_version"

    @property
    def epoch_table(self) -> str:
        """Where the store counts the starts of its service."""
        return f"gridloom_{self.service}_epoch"

    def revisions(self) -> tuple[str, ...]:
        """The revisions that are known, oldest first."""
        return tuple(sorted(path.name[:4] for path in self.migrations.glob("[0-9]" * 4 + "_*.py")))

    @property
    def head(self) -> str:
        """The newest revision."""
        return self.revisions()[-1]


def is_ready(cursor: Cursor, schema: Schema) -> bool:
    """Whether the SQLite store has the newest revision; an empty one is given it here and now.

    Where that is not so, and for every PostgreSQL store, `prepare` has the say.
    """
    if not isinstance(cursor, SqliteCursor):
        return False
    tables = [name for (name,) in cursor.all(_SQLITE_TABLES)]
    if not tables and schema.head_file.exists():
        for statement in schema.head_file.read_text("utf-8").split(";\n"):
            cursor.run(statement)
        return True
    if schema.version_table not in tables:
        return False
    found = cursor.all(f"SELECT version_num FROM {schema.version_table}")  # noqa: S608
    return found == [(schema.head,)]


def head_statements(schema: Schema) -> str:
    """What `head_file` is to be."""
    from sqlalchemy.dialects import sqlite
    from sqlalchemy.schema import CreateIndex, CreateTable

    dialect = sqlite.dialect()
    made: list[str] = []
    for table in schema.metadata.sorted_tables:
        made.append(str(CreateTable(table).compile(dialect=dialect)))
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        made += [str(CreateIndex(index).compile(dialect=dialect)) for index in indexes]
    made += _stamps(schema)
    lines = (line.rstrip() for line in ";\n".join(map(str.strip, made)).splitlines())
    return "\n".join(lines) + "\n"


def prepare(connection: Connection, schema: Schema, where: str) -> None:
    """Bring the store to the newest revision: made, migrated, or left as it is.

    All or nothing: run within a transaction, and by one process at a time: others wait for its
    end, and find the work done. NewerStoreError and CorruptStoreError name `where` and what to do;
    nothing was changed then.
    """
    from sqlalchemy import inspect, text

    if connection.dialect.name == "postgresql":
        connection.execute(text(_ALONE), {"name": schema.version_table})
    tables = set(inspect(connection).get_table_names())
    if schema.version_table not in tables:
        _refuse_foreign(schema, tables, where)
        _make_indices_partial(connection, schema.metadata)
        schema.metadata.create_all(connection)
        stamp(connection, schema)
        return
    found = connection.execute(text(f"SELECT version_num FROM {schema.version_table}")).scalar()  # noqa: S608
    if found == schema.head:
        return
    if found not in schema.revisions():
        raise NewerStoreError(
            f"the {schema.service} store {where} has revision {found}, this version knows those up"
            f" to {schema.head}: install the newer Gridloom that wrote it, or move the store away"
            " to begin with an empty one",
            given=found,
            allowed=schema.head,
        )
    migrate(connection, schema)


def stamp(connection: Connection, schema: Schema) -> None:
    """Say that the store has the newest revision; the table is as Alembic makes it."""
    for statement in _stamps(schema):
        connection.exec_driver_sql(statement)


def _stamps(schema: Schema) -> list[str]:
    name = schema.version_table
    key = f"CONSTRAINT {name}_pkc PRIMARY KEY (version_num)"
    return [
        f"CREATE TABLE {name} (version_num VARCHAR(32) NOT NULL, {key})",
        f"INSERT INTO {name} VALUES ('{schema.head}')",  # noqa: S608
    ]


def _make_indices_partial(connection: Connection, metadata: MetaData) -> None:
    """Say to PostgreSQL what is said to SQLite.

    Here, since to name PostgreSQL in an index imports its whole dialect, wherever tables are used.
    """
    if connection.dialect.name != "postgresql":
        return
    for index in (index for table in metadata.sorted_tables for index in table.indexes):
        condition = index.dialect_options["sqlite"]["where"]
        if condition is not None:
            index.dialect_options["postgresql"]["where"] = condition


def migrate(connection: Connection, schema: Schema, to: str = "head") -> None:
    """Run the migrations that are missing."""
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    folder = str(schema.migrations)
    script = ScriptDirectory(folder, version_locations=[folder])
    environment = EnvironmentContext(
        Config(),
        script,
        # What `alembic upgrade` itself calls; there is no public name for it.
        fn=lambda found, _: script._upgrade_revs(to, found),  # noqa: SLF001
        destination_rev=to,
    )
    with environment:
        environment.configure(
            connection=connection,
            target_metadata=schema.metadata,
            version_table=schema.version_table,
            render_as_batch=True,
        )
        environment.run_migrations()


def _refuse_foreign(schema: Schema, tables: set[str], where: str) -> None:
    ours = sorted(tables & set(schema.metadata.tables))
    if ours:
        raise CorruptStoreError(
            f"{where} has tables named {', '.join(ours)}, and no {schema.version_table}: it is not"
            f" a {schema.service} store of Gridloom; name another database, or move it away"
        )
