"""The law of every store: running its migrations makes what its metadata makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alembic.script import ScriptDirectory
from gridloom_services.common import schema as schemas
from sqlalchemy import create_engine, inspect
from sqlalchemy.pool import NullPool

if TYPE_CHECKING:
    from gridloom_services.common.schema import Schema
    from sqlalchemy import Connection


def assert_migrations_match_metadata(schema: Schema, database_url: str) -> None:
    """Both ways, on this (empty) database: same columns, keys, indexes and constraints.

    Also: the revisions are one line, and the newest is the one that `Schema` takes for it.
    """
    folder = str(schema.migrations)
    script = ScriptDirectory(folder, version_locations=[folder])
    assert script.get_current_head() == schema.head
    assert len(list(script.walk_revisions())) == len(schema.revisions())
    engine = create_engine(database_url, poolclass=NullPool)
    with engine.begin() as connection:
        schemas.migrate(connection, schema)
        migrated = _shape(connection, schema)
        version = connection.exec_driver_sql(f"SELECT * FROM {schema.version_table}").fetchall()
        schema.metadata.drop_all(connection)
        connection.exec_driver_sql(f"DROP TABLE {schema.version_table}")
    with engine.begin() as connection:
        schemas.prepare(connection, schema, database_url)
        assert _shape(connection, schema) == migrated
        stamped = connection.exec_driver_sql(f"SELECT * FROM {schema.version_table}").fetchall()
        assert stamped == version
        schema.metadata.drop_all(connection)
        connection.exec_driver_sql(f"DROP TABLE {schema.version_table}")


def _shape(connection: Connection, schema: Schema) -> dict[str, Any]:
    """What the database itself says about each table."""
    found = inspect(connection)
    return {
        name: {
            "columns": [_comparable(column) for column in found.get_columns(name)],
            "primary key": found.get_pk_constraint(name)["constrained_columns"],
            "indexes": _sorted(found.get_indexes(name)),
            "unique": _sorted(found.get_unique_constraints(name)),
            "checks": _sorted(found.get_check_constraints(name)),
            "foreign keys": _sorted(found.get_foreign_keys(name)),
        }
        for name in sorted(found.get_table_names())
        if name != schema.epoch_table
    }


def _comparable(fields: Any) -> dict[str, str]:
    return {key: _text(value) for key, value in fields.items()}


def _text(value: Any) -> str:
    # Within options of a dialect stand clauses whose text says more than their identity.
    if isinstance(value, dict):
        return str({key: str(part) for key, part in value.items()})
    return str(value)


def _sorted(found: Any) -> list[str]:
    return sorted(str(sorted(_comparable(each).items())) for each in found)
