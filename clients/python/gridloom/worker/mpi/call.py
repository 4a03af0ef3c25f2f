"""One call of a function on all ranks, as far as the agent knows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.worker.mpi.names import ERROR, VALUE, answer_name

if TYPE_CHECKING:
    from pathlib import Path

    from gridloom.worker.mpi.report import Failure, Report


class RankCall:
    """Collects the ranks' answers; their bytes stay in files until the report is made."""

    def __init__(self, number: int, ranks: int, folder: Path, *, root_only: bool = False) -> None:
        self.number = number
        self._ranks = ranks
        self._folder = folder
        self._root_only = root_only
        self._kinds: dict[int, str] = {}
        # The rank that raised first, and what it said of it.
        self.failed: tuple[int, str] | None = None

    def answered(self, rank: int, kind: str, words: str) -> None:
        """A rank has come to its end."""
        self._kinds[rank] = kind
        if kind == ERROR and self.failed is None:
            self.failed = rank, words

    @property
    def is_complete(self) -> bool:
        """Every rank has answered."""
        return len(self._kinds) == self._ranks

    def missing(self) -> list[int]:
        """The ranks that have not answered."""
        return [rank for rank in range(self._ranks) if rank not in self._kinds]

    def failure(self) -> Failure | None:
        """What the first error makes of it."""
        if self.failed is None:
            return None
        from gridloom.worker.mpi.report import Failure

        rank, words = self.failed
        return Failure(f"rank {rank}: {words}", rank)

    def report(self, failure: Failure | None) -> Report:
        """What there is of every rank that answered."""
        from gridloom.worker.mpi.report import Answer, Report

        answers = tuple(
            Answer(rank, kind, self._content(rank, kind))
            for rank, kind in sorted(self._kinds.items())
        )
        return Report(answers, failure)

    def _content(self, rank: int, kind: str) -> bytes:
        if self._root_only and rank and kind == VALUE:
            return b""
        path = self._folder / answer_name(self.number, rank)
        data = path.read_bytes()
        path.unlink()
        return data
