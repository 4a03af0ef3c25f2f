"""Which Gridloom this is, and which protocol it speaks."""

from __future__ import annotations

VERSION = "0.1.0"

PROTOCOL = 1
"""Grows when an older client or platform can no longer be understood."""
