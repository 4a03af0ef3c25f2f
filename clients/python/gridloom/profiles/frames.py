"""Functions in profiles, and the stacks that they make."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

# Shares of the whole below which a branch is not drawn any further, and the longest branch.
_LEAST_SHARE = 1 / 5000
_DEEPEST = 200
_RUNNERS = ("<frozen runpy>", "/runpy.py", "/mpi4py/run.py", "/gridloom/worker/profiling/rank.py")
_OF_C = "~"
_EXEC = "<built-in method builtins.exec>"


class Frame(NamedTuple):
    """A function: its file, first line and name. C functions have the file "~"."""

    file: str
    line: int
    name: str

    @property
    def label(self) -> str:
        """For people, without blanks and semicolons: "solve (heat.py:12)"."""
        if self.file == _OF_C:
            return self.name.strip("<>").replace(" ", "_").replace(";", ",")
        return f"{self.name} ({PurePath(self.file).name}:{self.line})".replace(";", ",")

    @property
    def is_runner(self) -> bool:
        """It only starts what is profiled."""
        return self.file.endswith(_RUNNERS) or self.name == _EXEC


class Counts(NamedTuple):
    """Of a function, or of its calls by one caller."""

    primitive_calls: int
    calls: int
    own_s: float
    total_s: float


class Timing(NamedTuple):
    """A function's counts, and its callers'."""

    counts: Counts
    callers: Mapping[Frame, Counts]


Stack = tuple[Frame, ...]
Timings = dict[Frame, Timing]
Stacks = dict[Stack, float]


def stacks_of(timings: Timings) -> Stacks:
    """The stacks that fit the counts, the outermost function first, with their own seconds.

    `cProfile` knows who called whom, not from where that was called in turn: below a function with
    several callers, time is shared among them as they have used it. Recursion is drawn once, but
    for C functions such as `sum`, which calls of calls go through.
    """
    callees: dict[Frame, list[tuple[Frame, Counts]]] = {}
    for frame, timing in timings.items():
        for caller, counts in timing.callers.items():
            callees.setdefault(caller, []).append((frame, counts))
    for called in callees.values():
        called.sort(key=lambda each: -each[1].total_s)
    roots = [frame for frame, timing in timings.items() if not timing.callers]
    whole_s = sum(timings[root].counts.total_s for root in roots)
    stacks: Stacks = {}
    waiting: list[tuple[Stack, float]] = [((r,), timings[r].counts.total_s) for r in roots]
    while waiting:
        stack, here_s = waiting.pop()
        share = here_s / (timings[stack[-1]].counts.total_s or 1.0)
        own_s = here_s
        for callee, counts in callees.get(stack[-1], ()):
            there_s = min(counts.total_s * share, own_s)
            is_new = callee not in stack or callee.file == _OF_C
            if there_s > whole_s * _LEAST_SHARE and is_new and len(stack) < _DEEPEST:
                waiting.append(((*stack, callee), there_s))
                own_s -= there_s
        if own_s > 0:
            stacks[stack] = stacks.get(stack, 0.0) + own_s
    return stacks


def timings_of(stacks: Stacks) -> Timings:
    """Seconds by function as samples have them; `calls` are 0, for nobody has counted them."""
    totals: dict[Frame, list[float]] = {}
    callers: dict[Frame, dict[Frame, list[float]]] = {}
    for stack, seconds in stacks.items():
        for place, frame in enumerate(stack):
            own_s = seconds if place == len(stack) - 1 else 0.0
            again = frame in stack[:place]
            _add(totals.setdefault(frame, [0.0, 0.0]), own_s, 0.0 if again else seconds)
            by = callers.setdefault(frame, {})
            if place:
                _add(by.setdefault(stack[place - 1], [0.0, 0.0]), own_s, seconds)
    return {
        frame: Timing(
            Counts(0, 0, *total), {by: Counts(0, 0, *each) for by, each in callers[frame].items()}
        )
        for frame, total in totals.items()
    }


def without_runners(stacks: Stacks) -> Stacks:
    """The same, begun at the user's own code."""
    found: Stacks = {}
    for stack, seconds in stacks.items():
        first = next((i for i, frame in enumerate(stack) if not frame.is_runner), len(stack))
        if stack[first:]:
            found[stack[first:]] = found.get(stack[first:], 0.0) + seconds
    return found


def _add(sums: list[float], own_s: float, total_s: float) -> None:
    sums[0] += own_s
    sums[1] += total_s
