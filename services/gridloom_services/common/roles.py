"""Roles: what a person may do in a project. Each includes those before it."""

from __future__ import annotations

import enum

# Stands for every project, those to come included.
EVERYWHERE = "*"


class Role(enum.IntEnum):
    """How much somebody may do in a project; the numbers are those of the wire."""

    NONE = 0
    # Sees what is in the project: jobs, logs, results.
    VIEWER = 1
    # Also submits work, and cancels or changes their own.
    SUBMITTER = 2
    # Also cancels and changes the work of others.
    OPERATOR = 3
    # Also changes queues and quotas, members and keys, and reads the audit log.
    ADMIN = 4

    @property
    def word(self) -> str:
        """As people write it."""
        return self.name.lower()


WORDS = tuple(role.word for role in Role if role)
