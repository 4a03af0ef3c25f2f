"""Functions that travel to workers: their module imports nothing that workers have not."""

from __future__ import annotations

import time


def slowly(number: int) -> int:
    """The next number, after a while."""
    time.sleep(0.2)
    return number + 1
