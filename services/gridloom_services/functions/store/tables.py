"""The tables of the functions service.

A row of `call_blocks` is a block: consecutive calls that have not all ended, their arguments packed
into one value; a row of `call_results` is a run of results. A row a call would cost seven times as
much. Ids are `session << 40 | sequence (or result, or group) number`, so rows of a session lie
together in order. Points in time are seconds since 1970.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine
from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)

metadata = MetaData()

# SQLite makes the key of a table its own row number only where the type is called INTEGER.
_BIG_KEY = BigInteger().with_variant(Integer, "sqlite")


def _key(name: str = "id") -> Column[int]:
    return Column(name, _BIG_KEY, primary_key=True, autoincrement=False)


def _needed(name: str, kind: type[TypeEngine[Any]]) -> Column[Any]:
    return Column(name, kind, nullable=False)


Table(
    "call_sessions",
    metadata,
    _key("number"),
    Column("key", LargeBinary, nullable=False, unique=True),
    Column("name", Text, nullable=False, unique=True),
    _needed("project", Text),
    _needed("owner", Text),
    _needed("python", Text),
    _needed("last_sequence", BigInteger),
    _needed("result_number", BigInteger),
    _needed("confirmed", BigInteger),
    _needed("created_at", Double),
    _needed("seen_at", Double),
)

Table(
    "call_functions",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    _needed("name", Text),
    _needed("python", Text),
    _needed("bundle_digest", Text),
    _needed("bundle_bytes", BigInteger),
    _needed("stored_at", Double),
    _needed("code", LargeBinary),
)

Table(
    "call_specs",
    metadata,
    Column("session", BigInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    _needed("function", LargeBinary),
    _needed("pool_id", Text),
    _needed("grp", BigInteger),
    _needed("options", Text),
)

Table(
    "call_groups",
    metadata,
    _key(),
    _needed("name", Text),
    _needed("kind", Text),
    _needed("project", Text),
    _needed("function", Text),
    _needed("accepted", BigInteger),
    _needed("succeeded", BigInteger),
    _needed("failed", BigInteger),
    _needed("cancelled", BigInteger),
    _needed("sealed", SmallInteger),
    _needed("created_at", Double),
    Column("ended_at", Double),
    Index("call_groups_newest", "project", "created_at", "id"),
)

# The arguments stand last: what else a row says is read without them.
blocks = Table(
    "call_blocks",
    metadata,
    _key(),
    _needed("spec", BigInteger),
    _needed("calls", Integer),
    _needed("items", BigInteger),
    _needed("needs", Integer),
    _needed("grp_offset", BigInteger),
    _needed("accepted_at", Double),
    _needed("arguments", LargeBinary),
)
Index(
    "call_blocks_waiting",
    blocks.c.id,
    sqlite_where=text("needs > 0"),
)

Table("call_progress", metadata, _key("block"), _needed("done", LargeBinary))

Table(
    "call_attempts",
    metadata,
    Column("block", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    _needed("errors", Integer),
    _needed("deaths", Integer),
    _needed("timeouts", Integer),
    _needed("out_of_memory", Integer),
    _needed("isolated", SmallInteger),
    _needed("begun", SmallInteger),
    _needed("not_before", Double),
)

Table(
    "call_dependencies",
    metadata,
    Column("block", BigInteger, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    _needed("upstream", BigInteger),
)

Table(
    "call_holds",
    metadata,
    Column("id", _BIG_KEY, primary_key=True, autoincrement=True),
    _needed("call", BigInteger),
    _needed("holder", Text),
    _needed("digests", Text),
    Index("call_holds_call", "call"),
)

results = Table(
    "call_results",
    metadata,
    _key(),
    _needed("first", BigInteger),
    _needed("calls", Integer),
    # Of part of a chunk: its first item, and how many; else 0 and 0.
    _needed("item", BigInteger),
    _needed("items", BigInteger),
    _needed("statuses", LargeBinary),
    Column("grp", BigInteger),
    _needed("grp_offset", BigInteger),
    _needed("ended_at", Double),
    _needed("data", LargeBinary),
    # When its calls were taken in; 0: not known.
    Column("accepted_at", Double, nullable=False, server_default=text("0")),
    Index("call_results_first", "first"),
)
Index(
    "call_results_group",
    results.c.grp,
    results.c.id,
    sqlite_where=text("grp IS NOT NULL"),
)

outputs = Table(
    "call_outputs",
    metadata,
    Column("id", _BIG_KEY, primary_key=True, autoincrement=True),
    _needed("call", BigInteger),
    Column("grp", BigInteger),
    _needed("item", BigInteger),
    _needed("stream", SmallInteger),
    _needed("data", LargeBinary),
    Index("call_outputs_call", "call", "id"),
)
Index(
    "call_outputs_group",
    outputs.c.grp,
    outputs.c.id,
    sqlite_where=text("grp IS NOT NULL"),
)

# Runs that failed and are repeated.
events = Table(
    "call_events",
    metadata,
    Column("id", _BIG_KEY, primary_key=True, autoincrement=True),
    _needed("call", BigInteger),
    Column("grp", BigInteger),
    _needed("at", Double),
    _needed("item", BigInteger),
    _needed("attempt", Integer),
    _needed("reason", Text),
    Index("call_events_call", "call", "id"),
)
Index(
    "call_events_group",
    events.c.grp,
    events.c.id,
    sqlite_where=text("grp IS NOT NULL"),
)

Table(
    "pool_events",
    metadata,
    Column("id", _BIG_KEY, primary_key=True, autoincrement=True),
    _needed("pool", Text),
    _needed("at", Double),
    _needed("state", SmallInteger),
    _needed("job_id", Text),
    _needed("reason", Text),
    Index("pool_events_pool", "pool", "id"),
)

Table(
    "pools",
    metadata,
    Column("id", Text, primary_key=True),
    _needed("key", Text),
    _needed("project", Text),
    _needed("owner", Text),
    _needed("request_id", Text),
    _needed("body", LargeBinary),
    _needed("state", SmallInteger),
    _needed("job_id", Text),
    _needed("generation", Integer),
    _needed("created_at", Double),
    _needed("reason", Text),
    Column("refusal", Text, nullable=False, server_default=text("''")),
)
