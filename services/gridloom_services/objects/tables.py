"""The tables of objects and of who holds them, for migrations: see `catalogue`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, MetaData, String, Table, Text

_DIGEST_LENGTH = 71

metadata = MetaData()

# `used_s` is when somebody last put, read or asked for it, to within `Objects`' granularity;
# `content` is null where it is in the store of contents.
objects = Table(
    "objects",
    metadata,
    Column("digest", String(_DIGEST_LENGTH), primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("created_s", BigInteger, nullable=False),
    Column("used_s", BigInteger, nullable=False),
    Column("content", LargeBinary),
    Index("objects_used", "used_s"),
)

object_holds = Table(
    "object_holds",
    metadata,
    Column("holder", Text, primary_key=True),
    Column("digest", String(_DIGEST_LENGTH), primary_key=True),
    # Whether anybody holds this object.
    Index("object_holds_digest", "digest"),
)
