"""Python programs as ranks: what one of them does not catch must end all of them.

A rank that raises would else wait, at its interpreter's end, for others that wait for it. mpi4py's
own runner turns the exception into an abort; it is put before the script where nobody has done so.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from gridloom.worker.mpi.implementations import which

_PYTHON = re.compile(r"python(3(\.\d+)?)?")
_RUNNER = ("-m", "mpi4py.run")
_PROFILED = ("-m", "gridloom.worker.profiling.rank")
_PROFILED_RUNNER = (*_PROFILED, *_RUNNER)
_WATCHED = ("-m", "gridloom.worker.profiling.program")
# Options of the interpreter that take the next word.
_WITH_WORD = {"-W", "-X", "--check-hash-based-pycs"}


def rank_program(command: list[str], path: str, *, is_profiled: bool = False) -> list[str]:
    """The command, with the runner where it is a script for this very environment's Python.

    One that is profiled has a runner of ours besides; another program one that sees its memory.
    """
    if _is_ours(command, path):
        return with_runner(command, _PROFILED_RUNNER if is_profiled else _RUNNER)
    return [sys.executable, *_WATCHED, *command] if is_profiled else command


def _is_ours(command: list[str], path: str) -> bool:
    program = which(command[0], path)
    if program is None or not _PYTHON.fullmatch(Path(command[0]).name):
        return False
    from importlib.util import find_spec

    is_ours = Path(program).parent == Path(sys.executable).parent
    return is_ours and find_spec("mpi4py") is not None


def with_runner(command: list[str], runner: tuple[str, ...] = _RUNNER) -> list[str]:
    """`python -u solve.py 3` as `python -u -m mpi4py.run solve.py 3`."""
    at = 1
    while (
        at < len(command) and command[at].startswith("-") and command[at] not in {"-", "-c", "-m"}
    ):
        at += 2 if command[at] in _WITH_WORD else 1
    rest = command[at:]
    if rest[:1] == ["-m"] and rest[1:2] and rest[1].startswith("mpi4py"):
        return command if runner is _RUNNER else [*command[:at], *_PROFILED, *rest]
    return [*command[:at], *runner, *rest] if rest else command
