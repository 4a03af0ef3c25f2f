"""Where the tables of objects are described."""

from __future__ import annotations

from pathlib import Path

from gridloom_services.common.schema import Schema

SCHEMA = Schema("objects", "gridloom_services.objects.tables", Path(__file__).parent / "migrations")
