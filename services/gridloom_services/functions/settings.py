"""What the functions service may be told: `GRIDLOOM_FUNCTIONS_...`."""

from __future__ import annotations

from dataclasses import dataclass

from gridloom_services.common.settings import bounded


@dataclass(frozen=True, slots=True)
class FunctionsSettings:
    """Where calls are kept, for how long, and how much clients may send at once."""

    # Empty: an SQLite file in the service's folder.
    database_url: str = ""
    # Workers of a pool that does not say how many; 0: as many as the platform has room for.
    workers: int = bounded(0, least=0)
    # Calls that a client may have sent and not yet seen acknowledged.
    window_calls: int = bounded(65_536, least=1)
    window_bytes: int = bounded(64 << 20, least=1 << 20)
    # Arguments and results over this go through `objects`.
    inline_limit_bytes: int = bounded(256 << 10, least=1024, most=8 << 20)
    payload_limit_bytes: int = bounded(64 << 30, least=1024)
    # Results of ended groups, and sessions that were left behind, are kept for so long.
    retention_s: float = bounded(7 * 24 * 3600.0, least=0)
    prune_every_s: float = bounded(60.0, least=0.01)
    # How long the commit of a lone quick call waits for its result; 0: not at all.
    hold_us: int = bounded(300, least=0, most=100_000)
