"""What the embedded platform may be told: `GRIDLOOM_EMBEDDED_...`, or words of the command line."""

from __future__ import annotations

from gridloom.values import dataclass

from gridloom_services.common.settings import bounded


@dataclass(frozen=True, slots=True)
class EmbeddedSettings:
    """When it ends, and how much it logs."""

    # 0: it never ends by itself.
    idle_timeout_s: float = bounded(600.0, least=0)
    log_bytes: int = bounded(16 << 20, least=1 << 16)
    # How long a platform that ends may keep the folder from the one that follows.
    handover_s: float = bounded(15.0, least=0)
