"""How much memory this process takes, and the most that it has taken."""

from __future__ import annotations

import contextlib
import resource
from typing import NamedTuple

_STATUS = "/proc/self/status"
_FORGET_PEAK = ("/proc/self/clear_refs", "5")
_KIB = 1024


class Memory(NamedTuple):
    """Resident bytes: now, and the most since the process began or `forget_peak`."""

    now_bytes: int
    peak_bytes: int


def forget_peak() -> None:
    """Let the peak begin anew, where the kernel lets us; else it is that of the whole process."""
    path, word = _FORGET_PEAK
    with contextlib.suppress(OSError), open(path, "w", encoding="ascii") as file:  # noqa: PTH123
        file.write(word)


def memory() -> Memory:
    """As it is now. Where there is no /proc, the peak stands for both."""
    found = {}
    with contextlib.suppress(OSError), open(_STATUS, encoding="ascii") as file:  # noqa: PTH123
        found = dict(line.split(":", 1) for line in file if line.startswith("Vm"))
    peak = _bytes(found.get("VmHWM")) or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB
    return Memory(_bytes(found.get("VmRSS")) or peak, peak)


def _bytes(text: str | None) -> int:
    return int(text.split()[0]) * _KIB if text else 0
