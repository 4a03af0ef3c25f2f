"""Shared memory of ranks that were killed: MPICH gives it back only where a world ends in order."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_SHARED = Path("/dev/shm")  # noqa: S108  # not ours to choose: the kernel's place for it
_PATTERN = "mpich_shm_*"
# Between its making and its use by a world that begins just now, a segment is nobody's.
_PAUSE_S = 0.05


def free_shared_memory(
    folder: Path = _SHARED, in_use: Callable[[], frozenset[str]] | None = None
) -> list[str]:
    """Remove this user's segments that no process uses; their names."""
    used = in_use or _mapped
    idle = _idle(_own(folder), used())
    if idle:
        time.sleep(_PAUSE_S)
        idle = _idle(idle, used())
    for path in idle:
        with contextlib.suppress(OSError):
            path.unlink()
    return [path.name for path in idle]


def _own(folder: Path) -> list[Path]:
    found = []
    for path in folder.glob(_PATTERN):
        with contextlib.suppress(OSError):
            if path.stat().st_uid == os.getuid():
                found.append(path)
    return found


def _idle(segments: Iterable[Path], used: frozenset[str]) -> list[Path]:
    return [path for path in segments if path.name not in used]


def _mapped() -> frozenset[str]:
    """Names of the segments that any process of this user has in its memory, or open."""
    names: set[str] = set()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                names.update(_segments_of(process))
    return frozenset(names)


def _segments_of(process: Path) -> Iterable[str]:
    mark = f"{_SHARED}/"
    text = (process / "maps").read_text(encoding="utf-8", errors="replace")
    for line in text.splitlines():
        if mark in line:
            yield line.rpartition("/")[2].removesuffix(" (deleted)")
    for link in (process / "fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(link.readlink())
            if target.startswith(mark):
                yield target.removeprefix(mark)
