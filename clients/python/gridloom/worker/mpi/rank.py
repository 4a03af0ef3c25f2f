"""A rank of an MPI function: `python -m gridloom.worker.mpi.rank`, started by the launcher.

It opens the call, runs the function with the communicator of all ranks, leaves what came of it in a
file beside the agent and says so. After an error it waits to be ended: others may be amid a message
to it, and who ends first must not look like the one to blame.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridloom.worker.mpi.call import answer_name
from gridloom.worker.mpi.report import Kind
from gridloom.worker.mpi.spec import SPEC_VARIABLE, from_text
from gridloom.worker.mpi.stacks import STACK_SIGNAL

if TYPE_CHECKING:
    from gridloom.worker.mpi.spec import LaunchSpec

_LONGEST_WORDS = 500


class RankProcess:
    """This process."""

    def __init__(self, spec: LaunchSpec, folder: Path, rank: int) -> None:
        self._spec = spec
        self._folder = folder
        self._rank = rank
        self._said = os.open(folder / "said", os.O_WRONLY | os.O_CLOEXEC)

    def prepare(self) -> None:
        """Say where it is when it crashes or is asked; find the user's modules."""
        faulthandler.enable()
        descriptor = os.open(
            self._folder / f"stack.{self._rank}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
        )
        faulthandler.register(STACK_SIGNAL, descriptor, all_threads=False)
        sys.path[0] = str(Path.cwd())
        if self._spec.bundle:
            sys.path.insert(0, str(Path(self._spec.bundle).with_suffix("")))

    def run(self, number: int, call: Path) -> None:
        """One call, to its answer."""
        try:
            data = self._result_of(call)
        except BaseException as error:  # noqa: BLE001  # also what ends an interpreter
            self._answer_error(number, error)
        else:
            self._answer(number, Kind.VALUE, data)

    def _result_of(self, call: Path) -> bytes:
        from mpi4py import MPI

        function, args, kwargs = pickle.loads(call.read_bytes())  # noqa: S301  # the user's own
        value = function(MPI.COMM_WORLD, *args, **kwargs)
        if self._spec.root_only and self._rank:
            return b""
        return pickled(value)

    def _answer_error(self, number: int, error: BaseException) -> None:
        from gridloom.worker.failures import call_error

        told = call_error(error)
        words = f"{type(error).__name__}: {told.message}".splitlines()[0][:_LONGEST_WORDS]
        self._answer(number, Kind.ERROR, told.SerializeToString(), words)
        sys.stdout.flush()
        sys.stderr.write(told.traceback)
        sys.stderr.flush()
        while True:
            signal.pause()

    def _answer(self, number: int, kind: Kind, data: bytes, words: str = "") -> None:
        """The file is there before it is spoken of. One line is one write: none are mixed."""
        (self._folder / answer_name(number, self._rank)).write_bytes(data)
        os.write(self._said, f"{kind} {number} {self._rank} {words}\n".encode())


def pickled(value: Any) -> bytes:
    """A result as it travels. UnpicklableError names the part that cannot."""
    try:
        return pickle.dumps(value, 5)
    except Exception:  # noqa: BLE001  # by value, what cannot be had by name
        return _pickled_by_value(value)


def _pickled_by_value(value: Any) -> bytes:
    import cloudpickle

    from gridloom.errors import UnpicklableError
    from gridloom.unpicklable import unpicklable_part

    try:
        data: bytes = cloudpickle.dumps(value, 5)
    except Exception as error:
        path, reason = unpicklable_part([("result", value)]) or ("result", str(error))
        raise UnpicklableError(f"{path}: {reason}", path=path) from error
    return data


def main() -> int:
    """Run the job's call; MPI ends with the interpreter."""
    spec = from_text(os.environ[SPEC_VARIABLE])
    rank = int(os.environ["GRIDLOOM_MPI_RANK"])
    process = RankProcess(spec, Path(os.environ["GRIDLOOM_MPI_FOLDER"]), rank)
    process.prepare()
    process.run(0, Path(spec.call))
    return 0


if __name__ == "__main__":
    sys.exit(main())
