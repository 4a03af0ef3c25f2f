"""Ranks that leave a profile: of a function's call, or of a whole Python program.

`python -m gridloom.worker.profiling.rank -m mpi4py.run solve.py` profiles what it runs as the
interpreter would run it: that runner, which ends all ranks where one raises.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridloom.worker.profiling import words
from gridloom.worker.profiling.recording import Recording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def profiled(number: int) -> Iterator[None]:
    """What is inside leaves its profile, also where it raises."""
    # Where the rank began: its program may go elsewhere, and end without saying so.
    target = (
        Path.cwd() / words.FOLDER / words.file_name(int(os.environ["GRIDLOOM_MPI_RANK"]), number)
    )
    recording = Recording(os.environ[words.VARIABLE])
    try:
        with recording:
            yield
    finally:
        leave(target, recording.encoded())


def call(number: int, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The function's value; its profile is left."""
    with profiled(number):
        return function(*args, **kwargs)


def leave(target: Path, data: bytes) -> None:
    """It appears whole or not at all; on a full disk a job loses its profile, not its result."""
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(exist_ok=True)
        part.write_bytes(data)
        part.replace(target)
    except OSError as error:
        sys.stderr.write(f"gridloom: no profile is left: {error}\n")


def main() -> None:
    """Run the module named, with a profile."""
    del sys.argv[0]
    module = sys.argv[1]
    sys.argv[:2] = [module]
    with profiled(0):
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
