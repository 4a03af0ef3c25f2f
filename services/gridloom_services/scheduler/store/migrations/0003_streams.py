"""Where the streams of gangs that are over lie in the object store."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table; what was kept in files until now stays there."""
    op.create_table(
        "gang_streams",
        sa.Column("gang", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("gap_first", sa.BigInteger(), nullable=False),
        sa.Column("gap_end", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("gang", "name"),
    )
