"""What became of calls that were run again, and of pools; when ended calls were taken in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_BIG_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables; what happened before was not written down."""
    accepted_at = sa.Column("accepted_at", sa.Double, nullable=False, server_default=sa.text("0"))
    op.add_column("call_results", accepted_at)
    refusal = sa.Column("refusal", sa.Text, nullable=False, server_default=sa.text("''"))
    op.add_column("pools", refusal)
    _call_events()
    _pool_events()


def _call_events() -> None:
    op.create_table(
        "call_events",
        sa.Column("id", _BIG_KEY, primary_key=True, autoincrement=True),
        sa.Column("call", sa.BigInteger, nullable=False),
        sa.Column("grp", sa.BigInteger),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("item", sa.BigInteger, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_index("call_events_call", "call_events", ["call", "id"])
    where = sa.text("grp IS NOT NULL")
    op.create_index(
        "call_events_group",
        "call_events",
        ["grp", "id"],
        sqlite_where=where,
        postgresql_where=where,
    )


def _pool_events() -> None:
    op.create_table(
        "pool_events",
        sa.Column("id", _BIG_KEY, primary_key=True, autoincrement=True),
        sa.Column("pool", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_index("pool_events_pool", "pool_events", ["pool", "id"])


def downgrade() -> None:
    """Forget them."""
    op.drop_table("pool_events")
    op.drop_table("call_events")
    op.drop_column("pools", "refusal")
    op.drop_column("call_results", "accepted_at")
