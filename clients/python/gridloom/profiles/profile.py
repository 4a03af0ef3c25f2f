"""A profile as a value: which functions took the time, and how much memory it took."""

from __future__ import annotations

import json
import marshal
import operator
import zlib
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gridloom import units
from gridloom.errors import ConflictError
from gridloom.profiles.frames import (
    Counts,
    Frame,
    Stacks,
    Timing,
    Timings,
    stacks_of,
    timings_of,
    without_runners,
)
from gridloom.values import dataclass
from gridloom.worker.profiling.words import CPROFILE, MEMORY

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

_COLLAPSED = {".txt", ".folded", ".collapsed"}
_MICROSECONDS = 1_000_000


class FunctionProfile(NamedTuple):
    """A row of the table. `calls` is 0 where nobody has counted: in samples."""

    name: str
    file: str
    line: int
    calls: int
    own_s: float
    total_s: float


@dataclass(frozen=True, slots=True)
class Profile:
    """Of one call or rank, or of several together.

    `kind` is "cprofile" (every call counted), "sampling" (looked at a hundred times a second) or
    "memory" (no Python to look into: `why`). `seconds` are the longest of those that it is of,
    `peak_memory_bytes` the most of one of them, `memory_before_bytes` what that had at its start.
    """

    kind: str
    seconds: float
    memory_before_bytes: int
    peak_memory_bytes: int
    timings: Mapping[Frame, Timing]
    stacks: Mapping[tuple[Frame, ...], float]
    """Seconds by stack, the outermost function first; of "cprofile" as the counts suggest."""
    why: str = ""
    by_rank: Mapping[int, Profile] = field(default_factory=dict)
    """Of an MPI job, by rank; those that left none are missing."""

    @property
    def functions(self) -> list[FunctionProfile]:
        """Every function, that with the most time of its own first."""
        rows = [
            FunctionProfile(frame.name, frame.file, frame.line, *t.counts[1:])
            for frame, t in self.timings.items()
        ]
        return sorted(rows, key=lambda row: (-row.own_s, -row.total_s, row.name))

    def flamegraph(self, path: str | os.PathLike[str], title: str = "") -> Path:
        """Write a flame graph: an SVG by itself, whose boxes tell more when pointed at."""
        from gridloom.profiles.flamegraph import flamegraph

        self._check_functions()
        target = Path(path)
        target.write_text(flamegraph(self, title), encoding="utf-8")
        return target

    def collapsed(self) -> str:
        """Stacks in the format of Gregg's flamegraph.pl, in microseconds: "a;b;c 1200"."""
        self._check_functions()
        return "".join(
            f"{';'.join(frame.label for frame in stack)} {round(seconds * _MICROSECONDS)}\n"
            for stack, seconds in sorted(self.stacks.items())
            if round(seconds * _MICROSECONDS)
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write what `pstats` and its viewers open; to a ".txt" or ".folded" collapsed stacks."""
        self._check_functions()
        target = Path(path)
        if target.suffix in _COLLAPSED:
            target.write_text(self.collapsed(), encoding="utf-8")
            return target
        stats = {
            tuple(frame): (*t.counts, {tuple(by): tuple(c) for by, c in t.callers.items()})
            for frame, t in self.timings.items()
        }
        target.write_bytes(marshal.dumps(stats))
        return target

    def _check_functions(self) -> None:
        if self.kind == MEMORY:
            raise ConflictError(f"there is a memory high-water mark only: {self.why}")

    def __repr__(self) -> str:
        peak = units.format_bytes(self.peak_memory_bytes)
        ranks = f", {len(self.by_rank)} ranks" if self.by_rank else ""
        took = units.format_duration(self.seconds)
        return f"<Profile {self.kind} {took}, peak {peak}{ranks}>"


def decoded(data: bytes) -> Profile:
    """From what a worker or rank has left."""
    document: dict[str, Any] = json.loads(zlib.decompress(data))
    frames = [Frame(*each) for each in document["frames"]]
    kind = document["kind"]
    stacks: Stacks = {}
    for numbers, seconds in document.get("stacks", ()):
        stack = tuple(frames[number] for number in numbers)
        stacks[stack] = stacks.get(stack, 0.0) + seconds
    timings = {
        frames[number]: Timing(Counts(*counts), {frames[by]: Counts(*c) for by, *c in callers})
        for number, *counts, callers in document.get("functions", ())
    }
    before, peak = document["memory"]
    return _profile(
        kind, document["seconds"], (before, peak), timings, stacks, document.get("why", "")
    )


def merged(profiles: Iterable[Profile], by_rank: Mapping[int, Profile] | None = None) -> Profile:
    """Several as one: functions' times are added, the longest and the largest stand for all."""
    found = list(profiles)
    if len(found) == 1 and not by_rank:
        return found[0]
    counted = [each for each in found if each.kind == CPROFILE]
    kinds = {each.kind for each in found}
    kind = CPROFILE if counted else min(kinds - {MEMORY}, default=MEMORY)
    most = max(found, key=lambda each: each.peak_memory_bytes)
    stacks: Stacks = {}
    for each in found:
        for stack, seconds in each.stacks.items():
            stacks[stack] = stacks.get(stack, 0.0) + seconds
    return Profile(
        kind,
        max(each.seconds for each in found),
        most.memory_before_bytes,
        most.peak_memory_bytes,
        _added(found),
        stacks,
        next((each.why for each in found if each.why), ""),
        by_rank or {},
    )


def _profile(
    kind: str,
    seconds: float,
    memory: tuple[int, int],
    timings: Timings,
    stacks: Stacks,
    why: str,
) -> Profile:
    own = without_runners(stacks or stacks_of(timings))
    kept = timings or timings_of(own)
    kept = {frame: timing for frame, timing in kept.items() if not frame.is_runner}
    return Profile(kind, seconds, *memory, kept, own, why)


def _added(profiles: list[Profile]) -> Timings:
    sums: dict[Frame, Counts] = {}
    callers: dict[Frame, dict[Frame, Counts]] = {}
    for profile in profiles:
        for frame, timing in profile.timings.items():
            sums[frame] = _plus(sums.get(frame), timing.counts)
            by = callers.setdefault(frame, {})
            for caller, counts in timing.callers.items():
                by[caller] = _plus(by.get(caller), counts)
    return {frame: Timing(counts, callers[frame]) for frame, counts in sums.items()}


def _plus(one: Counts | None, other: Counts) -> Counts:
    return other if one is None else Counts(*map(operator.add, one, other))
