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
# Options of the interpreter that take the next word.
_WITH_WORD = {"-W", "-X", "--check-hash-based-pycs"}


def rank_program(command: list[str], path: str) -> list[str]:
    """The command, with the runner where it is a script for this very environment's Python."""
    program = which(command[0], path)
    if program is None or not _PYTHON.fullmatch(Path(command[0]).name):
        return command
    from importlib.util import find_spec

    is_ours = Path(program).parent == Path(sys.executable).parent
    if not is_ours or find_spec("mpi4py") is None:
        return command
    return with_runner(command)


def with_runner(command: list[str]) -> list[str]:
    """`python -u solve.py 3` as `python -u -m mpi4py.run solve.py 3`."""
    at = 1
    while (
        at < len(command) and command[at].startswith("-") and command[at] not in {"-", "-c", "-m"}
    ):
        at += 2 if command[at] in _WITH_WORD else 1
    rest = command[at:]
    if not rest or (rest[0] == "-m" and rest[1:2] and rest[1].startswith("mpi4py")):
        return command
    return [*command[:at], *_RUNNER, *rest]
