"""What clients and workers are told about sizes and windows."""

from __future__ import annotations

from gridloom.values import dataclass


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Bounds of the call path; the same for all clients."""

    version: str
    # Calls that a client may have sent and not yet seen acknowledged, and their bytes.
    window_calls: int
    window_bytes: int
    # Envelopes over this go through `objects`.
    inline_limit_bytes: int
    # No payload may be larger.
    payload_limit_bytes: int
