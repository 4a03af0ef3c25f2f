"""Where the tables of calls are described."""

from __future__ import annotations

from pathlib import Path

from gridloom_services.common.schema import Schema

SCHEMA = Schema(
    "functions", "gridloom_services.functions.store.tables", Path(__file__).parent / "migrations"
)
