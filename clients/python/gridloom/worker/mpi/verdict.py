"""Which rank has failed, and of what: from what ranks and launcher left. Pure."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

from gridloom.worker.mpi.report import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gridloom.worker.mpi.folder import RankExit

EXIT_NOT_FOUND = 127
_SHELL_SIGNAL = 128

# What an implementation says where a rank called MPI_Abort: the code, and the rank in its world.
# MPICH says it by the stream of the rank itself, Open MPI by the launcher's.
_MPICH_ABORT = re.compile(rb"^Abort\((-?\d+)\) on node \d+ .*application called MPI_Abort")
_OPENMPI_ABORT = re.compile(rb"MPI_ABORT was invoked on rank (\d+)")
_OPENMPI_CODE = re.compile(rb"Errorcode: (-?\d+)")
_TRACEBACK = b"Traceback (most recent call last)"
_LONGEST_WORDS = 500
_SENT_TO_ALL = {signal.SIGTERM, signal.SIGKILL}
# Of ends within this time it is not known which of them brought about the others.
_CLOSE_S = 0.1
_MOST_NAMED = 4


def aborted(
    rank_lines: Mapping[int, Iterable[bytes]], launcher_lines: Iterable[bytes]
) -> Failure | None:
    """The rank that called MPI_Abort, if one did."""
    for rank, lines in sorted(rank_lines.items()):
        for line in lines:
            if found := _MPICH_ABORT.match(line):
                return _abort(rank, int(found[1]), lines)
    text = b"\n".join([*launcher_lines, *(line for each in rank_lines.values() for line in each)])
    if found := _OPENMPI_ABORT.search(text):
        code = _OPENMPI_CODE.search(text)
        rank = int(found[1])
        return _abort(rank, int(code[1]) if code else 1, rank_lines.get(rank, ()))
    return None


def first_bad(exits: Sequence[RankExit]) -> Failure | None:
    """The first rank that did not end well by itself; what was killed with it comes after it.

    `exits` are in the order of their times. Where a rank crashed, those that ended at the same time
    are named with it: MPICH crashes where it loses a peer, and may be seen to end before that.
    """
    bad = [end for end in exits if end.code]
    own = [end for end in bad if end.signal not in _SENT_TO_ALL]
    if not bad:
        return None
    end = (own or bad)[0]
    close = [each for each in own if each.at - end.at <= _CLOSE_S]
    named = close if any(each.signal for each in close) else [end]
    words = [f"rank {each.rank}: {_end_words(each)}" for each in named[:_MOST_NAMED]]
    return Failure(
        "; ".join(words) + ("; ..." if named[_MOST_NAMED:] else ""), end.rank, end.code, end.signal
    )


def launcher_failure(name: str, code: int) -> Failure:
    """The launcher itself has failed, and no rank is to blame."""
    if code < 0:
        words = f"killed by {_signal_name(-code)}"
        return Failure(f"{name} was {words}", exit_code=_SHELL_SIGNAL - code, signal=-code)
    return Failure(f"{name} failed: exit code {code}", exit_code=code)


def _abort(rank: int, code: int, lines: Iterable[bytes]) -> Failure:
    """An exception that nobody caught is the cause where the runner of scripts has aborted."""
    raised = _raised(lines)
    words = f"rank {rank}: {raised}" if raised else f"rank {rank} called MPI_Abort({code})"
    return Failure(words, rank, (code & 0xFF) or 1)


def _raised(lines: Iterable[bytes]) -> str:
    """The last line of a traceback among these; empty: there is none."""
    is_inside = False
    for line in lines:
        if line.startswith(_TRACEBACK):
            is_inside = True
        elif is_inside and line and not line.startswith(b" "):
            return line.decode("utf-8", "replace")[:_LONGEST_WORDS]
    return ""


def _end_words(end: RankExit) -> str:
    if end.signal:
        return f"killed by {_signal_name(end.signal)}"
    if end.code == EXIT_NOT_FOUND:
        return "its program was not found (exit code 127)"
    return f"exit code {end.code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
