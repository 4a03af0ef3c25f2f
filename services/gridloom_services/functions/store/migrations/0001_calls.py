"""Sessions, functions, calls, results, groups and pools."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_BIG_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _key(name: str = "id") -> sa.Column[int]:
    return sa.Column(name, _BIG_KEY, primary_key=True, autoincrement=False)


def _part(name: str, kind: type[sa.Integer] = sa.BigInteger) -> sa.Column[int]:
    return sa.Column(name, kind, primary_key=True, autoincrement=False)


def _needed(kind: type[sa.types.TypeEngine[Any]], *names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind, nullable=False) for name in names]


def upgrade() -> None:
    """Make all tables."""
    _sessions()
    _groups()
    _calls()
    _results()
    _pools()


def _sessions() -> None:
    op.create_table(
        "call_sessions",
        _key("number"),
        sa.Column("key", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        *_needed(sa.Text, "project", "owner", "python"),
        *_needed(sa.BigInteger, "last_sequence", "result_number", "confirmed"),
        *_needed(sa.Double, "created_at", "seen_at"),
    )
    op.create_table(
        "call_functions",
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        *_needed(sa.Text, "name", "python", "bundle_digest"),
        *_needed(sa.BigInteger, "bundle_bytes"),
        *_needed(sa.Double, "stored_at"),
        *_needed(sa.LargeBinary, "code"),
    )
    op.create_table(
        "call_specs",
        _part("session"),
        _part("number"),
        *_needed(sa.LargeBinary, "function"),
        *_needed(sa.Text, "pool_id"),
        *_needed(sa.BigInteger, "grp"),
        *_needed(sa.Text, "options"),
    )


def _groups() -> None:
    op.create_table(
        "call_groups",
        _key(),
        *_needed(sa.Text, "name", "kind", "project", "function"),
        *_needed(sa.BigInteger, "accepted", "succeeded", "failed", "cancelled"),
        *_needed(sa.SmallInteger, "sealed"),
        *_needed(sa.Double, "created_at"),
        sa.Column("ended_at", sa.Double),
    )
    op.create_index("call_groups_newest", "call_groups", ["project", "created_at", "id"])


def _calls() -> None:
    op.create_table(
        "call_blocks",
        _key(),
        *_needed(sa.BigInteger, "spec"),
        *_needed(sa.Integer, "calls"),
        *_needed(sa.BigInteger, "items"),
        *_needed(sa.Integer, "needs"),
        *_needed(sa.BigInteger, "grp_offset"),
        *_needed(sa.Double, "accepted_at"),
        *_needed(sa.LargeBinary, "arguments"),
    )
    _partial_index("call_blocks_waiting", "call_blocks", ["id"], "needs > 0")
    op.create_table("call_progress", _key("block"), *_needed(sa.LargeBinary, "done"))
    op.create_table(
        "call_attempts",
        _part("block"),
        _part("position"),
        *_needed(sa.Integer, "errors", "deaths", "timeouts", "out_of_memory"),
        *_needed(sa.SmallInteger, "isolated", "begun"),
        *_needed(sa.Double, "not_before"),
    )
    op.create_table(
        "call_dependencies",
        _part("block"),
        _part("position", sa.Integer),
        *_needed(sa.BigInteger, "upstream"),
    )
    op.create_table(
        "call_holds",
        sa.Column("id", _BIG_KEY, primary_key=True, autoincrement=True),
        *_needed(sa.BigInteger, "call"),
        *_needed(sa.Text, "holder", "digests"),
    )
    op.create_index("call_holds_call", "call_holds", ["call"])


def _results() -> None:
    op.create_table(
        "call_results",
        _key(),
        *_needed(sa.BigInteger, "first"),
        *_needed(sa.Integer, "calls"),
        *_needed(sa.BigInteger, "item", "items"),
        *_needed(sa.LargeBinary, "statuses"),
        sa.Column("grp", sa.BigInteger),
        *_needed(sa.BigInteger, "grp_offset"),
        *_needed(sa.Double, "ended_at"),
        *_needed(sa.LargeBinary, "data"),
    )
    op.create_index("call_results_first", "call_results", ["first"])
    _partial_index("call_results_group", "call_results", ["grp", "id"], "grp IS NOT NULL")
    op.create_table(
        "call_outputs",
        sa.Column("id", _BIG_KEY, primary_key=True, autoincrement=True),
        *_needed(sa.BigInteger, "call"),
        sa.Column("grp", sa.BigInteger),
        *_needed(sa.BigInteger, "item"),
        *_needed(sa.SmallInteger, "stream"),
        *_needed(sa.LargeBinary, "data"),
    )
    op.create_index("call_outputs_call", "call_outputs", ["call", "id"])
    _partial_index("call_outputs_group", "call_outputs", ["grp", "id"], "grp IS NOT NULL")


def _pools() -> None:
    op.create_table(
        "pools",
        sa.Column("id", sa.Text, primary_key=True),
        *_needed(sa.Text, "key", "project", "owner", "request_id"),
        *_needed(sa.LargeBinary, "body"),
        *_needed(sa.SmallInteger, "state"),
        *_needed(sa.Text, "job_id"),
        *_needed(sa.Integer, "generation"),
        *_needed(sa.Double, "created_at"),
        *_needed(sa.Text, "reason"),
    )


def _partial_index(name: str, table: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)


def downgrade() -> None:
    """Remove all tables."""
    for name in (
        "pools",
        "call_outputs",
        "call_results",
        "call_holds",
        "call_dependencies",
        "call_attempts",
        "call_progress",
        "call_blocks",
        "call_groups",
        "call_specs",
        "call_functions",
        "call_sessions",
    ):
        op.drop_table(name)
