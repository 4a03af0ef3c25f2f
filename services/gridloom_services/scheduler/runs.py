"""States of an array's elements, run-length encoded.

An array of 100,000 elements of which few differ from their neighbours costs a handful of numbers,
in memory and on disk. Positions are 0, 1, ...; runs stand in their order, cover all of them, and
two neighbouring runs never have the same state.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from typing import TYPE_CHECKING

from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from gridloom_services.scheduler.states import JobState


@dataclass(frozen=True, slots=True)
class Run:
    """`count` neighbouring elements in one state."""

    first: int
    count: int
    state: JobState

    @property
    def end(self) -> int:
        """The position behind the last."""
        return self.first + self.count


class RunLength:
    """The changing states of one array.

    A change costs a search among the runs and a move of what stands behind it.
    """

    def __init__(self, runs: Iterable[Run]) -> None:
        self._starts: list[int] = []
        self._states: list[JobState] = []
        self._size = 0
        self.counts: Counter[JobState] = Counter()
        for run in runs:
            self._append(run)

    @classmethod
    def uniform(cls, size: int, state: JobState) -> RunLength:
        """All elements in one state."""
        return cls([Run(0, size, state)])

    def _append(self, run: Run) -> None:
        if run.first != self._size or run.count < 1:
            raise ValueError(f"run {run} does not follow position {self._size}")
        if not self._states or self._states[-1] != run.state:
            self._starts.append(run.first)
            self._states.append(run.state)
        self._size += run.count
        self.counts[run.state] += run.count

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, position: int) -> JobState:
        if not 0 <= position < self._size:
            raise IndexError(f"position {position} is not below {self._size}")
        return self._states[bisect_right(self._starts, position) - 1]

    def runs(self) -> tuple[Run, ...]:
        """Return all runs, in order."""
        return tuple(self.slice(0, self._size))

    def slice(self, first: int, end: int) -> Iterator[Run]:
        """Yield the runs of positions `first` to `end`, cut at both."""
        index = bisect_right(self._starts, first) - 1
        while first < end:
            stop = self._starts[index + 1] if index + 1 < len(self._starts) else self._size
            yield Run(first, min(stop, end) - first, self._states[index])
            first, index = stop, index + 1

    def select(self, states: Container[JobState]) -> list[Run]:
        """Return the runs that are in any of these states."""
        return [run for run in self.slice(0, self._size) if run.state in states]

    def set(self, position: int, state: JobState, count: int = 1) -> None:
        """Give `count` elements from `position` on a new state."""
        end = position + count
        if position < 0 or count < 1 or end > self._size:
            raise IndexError(f"{count} from {position} are not among {self._size}")
        for run in self.slice(position, end):
            self.counts[run.state] -= run.count
        self.counts[state] += count
        low = bisect_left(self._starts, position)
        high = bisect_left(self._starts, end)
        starts, states = [position], [state]
        if end < self._size and (high == len(self._starts) or self._starts[high] != end):
            starts.append(end)
            states.append(self._states[high - 1])
        self._starts[low:high] = starts
        self._states[low:high] = states
        self._merge(low, len(starts))

    def _merge(self, low: int, inserted: int) -> None:
        """Join equal neighbours around the freshly inserted runs."""
        for index in range(low + inserted, low - 1, -1):
            if 0 < index < len(self._starts) and self._states[index] == self._states[index - 1]:
                del self._starts[index], self._states[index]
