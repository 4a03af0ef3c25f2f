from __future__ import annotations

import dataclasses
import shutil

import pytest
from gridloom_services.common import schema as schemas
from gridloom_services.common.errors import CorruptStoreError, NewerStoreError
from gridloom_services.common.store import Database
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.pool import NullPool

from tests.support.migrations import assert_migrations_match_metadata
from tests.unit.common.tables import SCHEMA, add, numbers

BROKEN = """
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("ALTER TABLE notes ADD COLUMN half TEXT")
    raise RuntimeError("broken half way")
"""


def execute(url: str, *statements: str) -> None:
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def columns(url: str) -> set[str]:
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        return {column["name"] for column in inspect(connection).get_columns("notes")}


def test_a_fresh_store_is_what_the_migrations_make(database_url):
    assert_migrations_match_metadata(SCHEMA, database_url)


async def test_an_older_store_is_migrated_and_keeps_its_rows(database_url):
    engine = create_engine(database_url, poolclass=NullPool)
    with engine.begin() as connection:
        schemas.migrate(connection, SCHEMA, to="0001")
    execute(database_url, "INSERT INTO notes VALUES (7, 'old')")
    database = await Database.open(database_url, SCHEMA)
    assert await database.read(numbers) == [7]
    await database.write(add(8))
    await database.close()
    assert columns(database_url) == {"number", "content", "answers"}


async def test_a_newer_store_is_refused_with_both_revisions_and_what_to_do(database_url):
    await (await Database.open(database_url, SCHEMA)).close()
    execute(database_url, "UPDATE gridloom_notes_version SET version_num = '0009'")
    with pytest.raises(NewerStoreError) as caught:
        await Database.open(database_url, SCHEMA)
    for words in ("revision 0009", "up to 0002", "install the newer Gridloom", "move the store"):
        assert words in caught.value.message


async def test_tables_of_somebody_else_are_refused_and_left_alone(database_url):
    execute(database_url, "CREATE TABLE notes (recipe TEXT)")
    with pytest.raises(CorruptStoreError, match="has tables named notes"):
        await Database.open(database_url, SCHEMA)
    assert columns(database_url) == {"recipe"}


async def test_a_migration_that_fails_changes_nothing(database_url, tmp_path):
    await (await Database.open(database_url, SCHEMA)).close()
    folder = tmp_path / "migrations"
    shutil.copytree(SCHEMA.migrations, folder)
    (folder / "0003_broken.py").write_text(BROKEN)
    with pytest.raises(RuntimeError, match="half way"):
        await Database.open(database_url, dataclasses.replace(SCHEMA, migrations=folder))
    assert "half" not in columns(database_url)
    await (await Database.open(database_url, SCHEMA)).close()


async def test_two_services_may_share_a_database(database_url):
    first = await Database.open(database_url, SCHEMA)
    other = dataclasses.replace(SCHEMA, service="other", tables=type(SCHEMA.metadata)())
    await first.close()
    second = await Database.open(database_url, other)
    assert await second.next_epoch() == 1
    await second.close()
