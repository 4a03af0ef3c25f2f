"""The scheduler's tables.

A job is one row whatever its size: an array's elements are run-length states in it. Rows of
their own have only what lives (`gangs`), what has ended (`ends`) and what was retried (`tries`).
`sequence` numbers jobs by acceptance and is the key everywhere; `element` is a position, 0 in a job
that is no array. Points in time are microseconds since 1970. Names are such that services can share
a PostgreSQL database.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    text,
)

metadata = MetaData()

# SQLite makes the key of a table its own row number only where the type is called INTEGER.
_BIG_KEY = BigInteger().with_variant(Integer, "sqlite")

jobs = Table(
    "jobs",
    metadata,
    Column("sequence", _BIG_KEY, primary_key=True, autoincrement=False),
    Column("id", String(64), nullable=False, unique=True),
    Column("project", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("submitted_us", BigInteger, nullable=False),
    Column("queued_us", BigInteger),
    Column("started_us", BigInteger),
    Column("ended_us", BigInteger),
    Column("reason", Text, nullable=False),
    Column("failure_class", SmallInteger, nullable=False),
    Column("exit_code", Integer, nullable=False),
    Column("signal", Integer, nullable=False),
    Column("cpu_seconds", Double, nullable=False),
    Column("peak_memory_bytes", BigInteger, nullable=False),
    Column("time_limit_s", BigInteger, nullable=False),
    Column("retry_of", String(64), nullable=False),
    Column("runs", Text, nullable=False),
    Column("sizes", Text, nullable=False),
    Column("spec", Text, nullable=False),
    # Unfinished jobs are few among many: this is what a restart reads. State 5 is the first final.
    Index(
        "jobs_live",
        "state",
        "sequence",
        sqlite_where=text("state < 5"),
    ),
    Index(
        "jobs_request",
        "project",
        "request_id",
        unique=True,
        sqlite_where=text("request_id <> ''"),
    ),
    Index("jobs_ended", "ended_us"),
)

labels = Table(
    "job_labels",
    metadata,
    Column("key", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("value", Text, nullable=False),
    Index("job_labels_value", "key", "value", "sequence"),
)

gangs = Table(
    "gangs",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("element", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("job_id", String(64), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("placement", Text, nullable=False),
    Column("starting_us", BigInteger, nullable=False),
    Column("stop", Text, nullable=False),
    Column("leaving", Text, nullable=False),
    Column("elastic", Text, nullable=False),
)

ends = Table(
    "gang_ends",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("element", Integer, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("state", SmallInteger, nullable=False),
    Column("failure_class", SmallInteger, nullable=False),
    Column("exit_code", Integer, nullable=False),
    Column("signal", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("queued_us", BigInteger, nullable=False),
    Column("started_us", BigInteger),
    Column("ended_us", BigInteger, nullable=False),
    Column("cpu_seconds", Double, nullable=False),
    Column("peak_memory_bytes", BigInteger, nullable=False),
    Column("replicas", Text, nullable=False),
    Column("outputs", Text, nullable=False),
)

# Where the streams of gangs that are over lie in the object store.
streams = Table(
    "gang_streams",
    metadata,
    Column("gang", String(64), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("digest", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("gap_first", BigInteger, nullable=False),
    Column("gap_end", BigInteger, nullable=False),
)

# Jobs that are gone, and whose logs and objects elsewhere are still to be let go.
leavings = Table(
    "job_leavings",
    metadata,
    Column("id", String(64), primary_key=True),
)

tries = Table(
    "job_tries",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("element", Integer, primary_key=True, autoincrement=False),
    Column("attempts", Integer, nullable=False),
    Column("used", Text, nullable=False),
    Column("not_before_us", BigInteger, nullable=False),
    Column("memory_factor", BigInteger, nullable=False),
)

events = Table(
    "job_events",
    metadata,
    Column("revision", _BIG_KEY, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, nullable=False),
    Column("job_id", String(64), nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("before", SmallInteger),
    Column("after", SmallInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("element", Integer),
    Column("elements", Integer, nullable=False),
    Index("job_events_sequence", "sequence", "revision"),
)

queues = Table(
    "job_queues",
    metadata,
    Column("project", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("quota", Text, nullable=False),
    Column("default_time_limit_s", BigInteger, nullable=False),
    Column("max_time_limit_s", BigInteger, nullable=False),
    Column("closed", Boolean, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("description", Text, nullable=False),
)

promises = Table(
    "job_promises",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("element", Integer, primary_key=True, autoincrement=False),
    Column("start_s", BigInteger, nullable=False),
    Column("placement", Text, nullable=False),
)

# Single numbers: "compacted" is the newest revision whose event is gone.
facts = Table(
    "scheduler_facts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", BigInteger, nullable=False),
)
