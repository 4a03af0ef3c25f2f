"""Objects, and who holds them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "objects",
        sa.Column("digest", sa.String(71), primary_key=True),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("created_s", sa.BigInteger, nullable=False),
        sa.Column("used_s", sa.BigInteger, nullable=False),
        sa.Column("content", sa.LargeBinary),
    )
    op.create_index("objects_used", "objects", ["used_s"])
    op.create_table(
        "object_holds",
        sa.Column("holder", sa.Text, primary_key=True),
        sa.Column("digest", sa.String(71), primary_key=True),
    )
    op.create_index("object_holds_digest", "object_holds", ["digest"])


def downgrade() -> None:
    """Remove both."""
    op.drop_table("object_holds")
    op.drop_table("objects")
