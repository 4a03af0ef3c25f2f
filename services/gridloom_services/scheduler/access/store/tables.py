"""The tables of keys, members and the audit log, in the scheduler's database.

Points in time are microseconds since 1970. Nothing here opens anything: of a key there is a hash.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    Text,
)

from gridloom_services.scheduler.store.tables import metadata

# SQLite makes the key of a table its own row number only where the type is called INTEGER.
_BIG_KEY = BigInteger().with_variant(Integer, "sqlite")

keys = Table(
    "access_keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("owner", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("role", SmallInteger, nullable=False),
    Column("description", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_us", BigInteger),
    Column("revoked_us", BigInteger),
    Column("revoked_by", Text, nullable=False),
    Column("used_us", BigInteger),
    Column("is_bootstrap", Boolean, nullable=False),
)

members = Table(
    "access_members",
    metadata,
    Column("project", Text, primary_key=True),
    Column("user", Text, primary_key=True),
    Column("role", SmallInteger, nullable=False),
    Column("added_us", BigInteger, nullable=False),
    Column("added_by", Text, nullable=False),
)

audit = Table(
    "access_audit",
    metadata,
    Column("sequence", _BIG_KEY, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("at_us", BigInteger, nullable=False),
    Column("service", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("actor_kind", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("project", Text, nullable=False),
    # One after the other, each between line breaks, so that one can be looked for.
    Column("objects", Text, nullable=False),
    Column("object_count", Integer, nullable=False),
    Column("result", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Index("access_audit_at", "at_us"),
)
