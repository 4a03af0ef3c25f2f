"""Where the scheduler's tables are described."""

from __future__ import annotations

from pathlib import Path

from gridloom_services.common.schema import Schema

SCHEMA = Schema(
    "scheduler", "gridloom_services.scheduler.store.tables", Path(__file__).parent / "migrations"
)
