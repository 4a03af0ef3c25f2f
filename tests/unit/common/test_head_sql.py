"""A fresh SQLite store is made from a file; it must be what the tables say."""

import pytest
from gridloom_services.common.schema import head_statements
from gridloom_services.common.store import Database
from sqlalchemy import inspect

from tests.support.schemas import SCHEMAS, schema_of


@pytest.mark.parametrize("service", SCHEMAS)
def test_the_file_says_what_the_tables_say(service):
    schema = schema_of(service)
    if schema.head_file.exists():
        assert schema.head_file.read_text() == head_statements(schema), "run `make schemas`"


@pytest.mark.parametrize("service", SCHEMAS)
async def test_a_fresh_store_has_all_tables_and_opens_again(service, sqlite_url):
    schema = schema_of(service)
    for _ in range(2):
        database = await Database.open(sqlite_url, schema)
        tables = await database.read(lambda c: inspect(c).get_table_names())
        assert set(tables) == {*schema.metadata.tables, schema.version_table}
        await database.close()
