from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("notes") as batch:
        batch.alter_column("text", new_column_name="content", existing_type=sa.Text)
        batch.add_column(sa.Column("answers", sa.Integer))
        batch.create_foreign_key(
            "notes_answers_fkey",
            "notes",
            ["answers"],
            ["number"],
            deferrable=True,
            initially="DEFERRED",
        )
