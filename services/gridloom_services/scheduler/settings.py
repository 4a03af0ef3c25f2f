"""What the scheduler may be told: `GRIDLOOM_SCHEDULER_...`."""

from __future__ import annotations

from gridloom.values import dataclass

from gridloom_services.common.settings import bounded


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """Where the rows are, what the local machine offers, and how long history is kept."""

    # Empty: an SQLite file in the service's folder.
    database_url: str = ""
    # What this machine offers to jobs; None: what it has.
    cpus: float | None = bounded(None, least=0.001)
    memory_bytes: int | None = bounded(None, least=1)
    # Of each stream of a replica, the middle of what is longer is dropped.
    log_limit_bytes: int = bounded(256 << 20, least=1 << 16)
    # Events of jobs that ended earlier than this are let go.
    history_days: float = bounded(30.0, least=0)
    # Entries of the audit log that are older are let go.
    audit_days: float = bounded(365.0, least=1)
