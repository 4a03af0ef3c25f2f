"""What ranks and their agent share on a host: a folder of pipes and small files.

`out.3` and `err.3` are pipes that rank 3 writes to, `pid.3` its shell's process, `exit.3` its exit
code as a shell gives it (128 and more: a signal), `stack.3` where it is, when it was asked. Into
the pipe `said` ranks of functions write that they have left an answer, and shells that their rank
has not ended well.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

STREAMS = ("out", "err")
_SHELL_SIGNAL = 128
_LAST_SIGNAL = 64

# Each rank is a child of this shell, whichever implementation starts it: so its streams are its
# own, and its exit code is known whatever becomes of the rest. A launcher ends both together.
_SCRIPT = """
rank=${PMI_RANK:-${OMPI_COMM_WORLD_RANK:-${PMIX_RANK:?this is not a rank}}}
export GRIDLOOM_MPI_RANK="$rank"
cd "${GRIDLOOM_MPI_HERE:-.}" || exit
exec >"$GRIDLOOM_MPI_FOLDER/out.$rank" 2>"$GRIDLOOM_MPI_FOLDER/err.$rank"
echo $$ >"$GRIDLOOM_MPI_FOLDER/pid.$rank"
"$@"
code=$?
echo $code >"$GRIDLOOM_MPI_FOLDER/exit.$rank"
[ $code = 0 ] || echo "exit $code $rank" 1<>"$GRIDLOOM_MPI_FOLDER/said"
exit $code
"""


class RankExit(NamedTuple):
    """How a rank ended; `signal` is 0 where it exited by itself."""

    rank: int
    code: int
    signal: int
    at: float


class RankFolder:
    """The agent's side, with the ranks that are on this host."""

    def __init__(self, path: Path, ranks: Sequence[int]) -> None:
        self.path = path
        self.ranks = ranks

    def prepare(self) -> None:
        """Make the folder and the pipes."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for rank in self.ranks:
            for stream in STREAMS:
                _make_pipe(self.path / f"{stream}.{rank}")
        _make_pipe(self.path / "said")

    def shell(self, command: list[str]) -> list[str]:
        """What each rank executes, to run the command so."""
        return ["/bin/sh", "-c", _SCRIPT, "rank", *command]

    def open_stream(self, stream: str, rank: int) -> int:
        """The reading end. It has a writer as well, so that it has no end before the agent has."""
        return _opened(self.path / f"{stream}.{rank}")

    def open_calls(self) -> list[int]:
        """For each rank of a world, the pipe into which its calls are written."""
        for rank in self.ranks:
            _make_pipe(self.path / f"to.{rank}")
        return [_opened(self.path / f"to.{rank}") for rank in self.ranks]

    def open_said(self) -> int:
        """The reading end of what ranks of functions say, in lines."""
        return _opened(self.path / "said")

    def pid(self, rank: int) -> int | None:
        """The process of the rank's shell; None: it has not begun."""
        return self._number(f"pid.{rank}")

    def exits(self) -> list[RankExit]:
        """The ranks that have ended, the first to end first."""
        found = []
        for rank in self.ranks:
            code = self._number(f"exit.{rank}")
            if code is not None:
                at = (self.path / f"exit.{rank}").stat().st_mtime
                found.append(rank_exit(rank, code, at))
        return in_order(found)

    def began_at(self, rank: int) -> float | None:
        """When the rank's program was about to be executed; None: it was not."""
        try:
            return (self.path / f"pid.{rank}").stat().st_mtime
        except OSError:
            return None

    def _number(self, name: str) -> int | None:
        try:
            return int((self.path / name).read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None


def in_order(ends: list[RankExit]) -> list[RankExit]:
    """The first to end first."""
    return sorted(ends, key=lambda end: (end.at, end.rank))


def rank_exit(rank: int, code: int, at: float) -> RankExit:
    """From an exit code as a shell gives it."""
    number = code - _SHELL_SIGNAL
    return RankExit(rank, code, number if 0 < number <= _LAST_SIGNAL else 0, at)


def _make_pipe(path: Path) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkfifo(path, 0o600)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
