"""What a container has used, by the files of its own control group. Both versions of the kernel's.

They are opened while the command lives and can be read for a moment after its end.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_NANOSECONDS = 1e-9
_MICROSECONDS = 1e-6
_READ_BYTES = 4096


class Usage(NamedTuple):
    """Processor time, and the most memory at any one time (with what the kernel caches for it)."""

    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0


class ContainerUsage:
    """Reads what the container of a process has used; keeps the last that was read."""

    def __init__(self, pid: int, proc: Path = Path("/proc")) -> None:
        groups = proc / str(pid) / "root/sys/fs/cgroup"
        self._cpu = _first(
            (groups / "cpu.stat", _usage_usec),
            (groups / "cpuacct/cpuacct.usage", _nanoseconds),
            (groups / "cpu,cpuacct/cpuacct.usage", _nanoseconds),
        )
        self._memory = _first(
            (groups / "memory.peak", float),
            (groups / "memory/memory.max_usage_in_bytes", float),
        )
        self.latest = Usage()

    def look(self) -> None:
        """Read anew; what cannot be read stays as it was."""
        cpu_seconds, peak = self.latest
        with contextlib.suppress(OSError, ValueError):
            cpu_seconds = max(cpu_seconds, self._cpu.read())
        with contextlib.suppress(OSError, ValueError):
            peak = max(peak, int(self._memory.read()))
        self.latest = Usage(cpu_seconds, peak)


class _Counter:
    """One open file with one number in it."""

    def __init__(self, descriptor: int | None, parse: Callable[[str], float]) -> None:
        self._descriptor = descriptor
        self._parse = parse

    def read(self) -> float:
        if self._descriptor is None:
            return 0.0
        return self._parse(os.pread(self._descriptor, _READ_BYTES, 0).decode())


def _first(*files: tuple[Path, Callable[[str], float]]) -> _Counter:
    for path, parse in files:
        with contextlib.suppress(OSError):
            return _Counter(os.open(path, os.O_RDONLY | os.O_CLOEXEC), parse)
    return _Counter(None, float)


def _usage_usec(text: str) -> float:
    words = text.split()
    return int(words[words.index("usage_usec") + 1]) * _MICROSECONDS


def _nanoseconds(text: str) -> float:
    return int(text) * _NANOSECONDS
