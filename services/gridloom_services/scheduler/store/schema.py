"""Where the scheduler's tables are described."""

from __future__ import annotations

from pathlib import Path

from gridloom_services.common.schema import Schema

# Of keys, members and the audit log; it adds to the metadata of `tables.py` beside this file.
_TABLES = "gridloom_services.scheduler.access.store.tables"

SCHEMA = Schema("scheduler", _TABLES, Path(__file__).parent / "migrations")
