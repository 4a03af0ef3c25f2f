"""A profile being made: `with Recording("cprofile") as recording: ...`, then `encoded()`.

As it travels it is JSON, compressed: `kind`, `seconds`, `memory` (before and peak, in bytes),
`frames` ([file, line, name]), and by the kind `functions` (frame, primitive calls, calls, own and
total seconds, and the same of each caller) or `stacks` (frames, seconds).
"""

from __future__ import annotations

import json
import sys
import threading
import time
import zlib
from typing import TYPE_CHECKING, Any, Self

from gridloom.worker.profiling import words
from gridloom.worker.profiling.memory import forget_peak, memory

if TYPE_CHECKING:
    import cProfile

    from gridloom.worker.profiling.sampler import Sampler

_OWN = "_lsprof.Profiler"


class Recording:
    """Of what the thread does inside the `with`. Errors pass through; the profile is whole."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._profiler: cProfile.Profile | None = None
        self._sampler: Sampler | None = None
        self._seconds = 0.0

    def __enter__(self) -> Self:
        forget_peak()
        self._before_bytes = memory().now_bytes
        self._began = time.perf_counter()
        if self._kind == words.SAMPLING or not self._is_counting():
            self._sample()
        return self

    def __exit__(self, *_: object) -> None:
        if self._profiler is not None:
            self._profiler.disable()
        if self._sampler is not None:
            self._sampler.end()
        self._seconds = time.perf_counter() - self._began
        self._peak_bytes = memory().peak_bytes

    def encoded(self) -> bytes:
        """As it travels."""
        frames: dict[tuple[str, int, str], int] = {}
        document: dict[str, Any] = {
            "kind": self._kind,
            "seconds": self._seconds,
            "memory": [self._before_bytes, self._peak_bytes],
        }
        if self._profiler is not None:
            document["functions"] = _functions(self._profiler, frames)
        elif self._sampler is not None:
            document["stacks"] = _stacks(self._sampler, frames)
        document["frames"] = list(frames)
        return packed(document)

    def _is_counting(self) -> bool:
        """A process has one such profiler, of its main thread; where that is taken, we look on."""
        if threading.current_thread() is not threading.main_thread():
            return False
        import cProfile

        profiler = cProfile.Profile()
        try:
            profiler.enable()
        except ValueError:  # the user's code has one at work
            return False
        self._profiler = profiler
        return True

    def _sample(self) -> None:
        from gridloom.worker.profiling.sampler import Sampler

        self._kind = words.SAMPLING
        self._sampler = Sampler(sys._getframe(2))  # noqa: SLF001  # who wrote the `with`
        self._sampler.begin()


def packed(document: dict[str, Any]) -> bytes:
    """A profile as it travels."""
    return zlib.compress(json.dumps(document, separators=(",", ":")).encode(), 1)


def _functions(
    profiler: cProfile.Profile, frames: dict[tuple[str, int, str], int]
) -> list[list[Any]]:
    profiler.create_stats()
    stats: dict[tuple[str, int, str], Any] = profiler.stats
    rows = []
    for frame, (primitive, calls, own, total, callers) in stats.items():
        if _OWN in frame[2]:
            continue
        by = [[_number(frames, caller), *counts] for caller, counts in callers.items()]
        rows.append([_number(frames, frame), primitive, calls, own, total, by])
    return rows


def _stacks(sampler: Sampler, frames: dict[tuple[str, int, str], int]) -> list[list[Any]]:
    return [
        [
            [_number(frames, (c.co_filename, c.co_firstlineno, c.co_qualname)) for c in stack],
            seconds,
        ]
        for stack, seconds in sampler.stacks.items()
    ]


def _number(frames: dict[tuple[str, int, str], int], frame: tuple[str, int, str]) -> int:
    return frames.setdefault(frame, len(frames))
