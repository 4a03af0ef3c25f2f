"""What the engine refuses."""

from __future__ import annotations


class EngineError(ValueError):
    """An event or a question that contradicts what the engine knows; nothing was changed."""
