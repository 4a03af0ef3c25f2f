"""Jobs that are long over go; what they leave elsewhere is noted until that has gone too."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table and the index."""
    op.create_table(
        "job_leavings",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("jobs_ended", "jobs", ["ended_us"])
