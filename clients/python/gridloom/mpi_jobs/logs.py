"""The output of ranks: lines of one stream, each with its rank's mark, as lines of each rank."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from gridloom.jobs.logs import LineReading, LogLine, LogQuery
from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gridloom.api.scheduler.v1 import scheduler_pb2
    from gridloom.operation import Call

# The kind of MPI jobs.
MPI = "mpi"
_MARK = re.compile(r"\[(\d+|mpiexec|agent)\] ?")


@dataclass(frozen=True, slots=True)
class RankLine:
    """One line; `rank` is None where the launcher or its agent speaks."""

    rank: int | None
    text: str
    is_error: bool


def rank_line(line: LogLine) -> RankLine:
    """Whose line it is, without the mark."""
    found = _MARK.match(line.text)
    if found is None:
        return RankLine(None, line.text, line.source.is_error)
    rank = int(found[1]) if found[1].isdigit() else None
    text = line.text[found.end() :] if rank is not None else line.text
    return RankLine(rank, text, line.source.is_error)


class RankReading:
    """A `Following` of the lines of all ranks, or of one."""

    def __init__(self, query: LogQuery) -> None:
        self._rank = query.index
        self._tail = query.tail
        # Ranks of a node share a stream: one rank's last lines are found by reading all of it.
        tail = query.tail if query.index is None else None
        self._lines = LineReading(replace(query, index=None, role=None, tail=tail))
        self._held: list[RankLine] = []
        self._is_tail = self._rank is not None and bool(self._tail) and not query.follow

    def call(self) -> Call:
        """Where the lines go on."""
        return self._lines.call()

    def feed(self, answer: scheduler_pb2.ReadLogsResponse) -> Iterable[RankLine]:
        """The lines that this answer completes."""
        return self._chosen(self._lines.feed(answer))

    def finish(self) -> Iterable[RankLine]:
        """Lines without an end; and the last ones, where only those were asked for."""
        rest = list(self._chosen(self._lines.finish()))
        if not self._is_tail:
            return rest
        return self._held[-(self._tail or 0) :]

    @property
    def over(self) -> bool:
        """There is no more."""
        return self._lines.over

    def _chosen(self, lines: Iterable[LogLine]) -> Iterator[RankLine]:
        for line in map(rank_line, lines):
            if self._rank is not None and line.rank != self._rank:
                continue
            if self._is_tail:
                self._held.append(line)
            else:
                yield line
