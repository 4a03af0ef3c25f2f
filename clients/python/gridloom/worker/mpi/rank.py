"""A rank of an MPI function: `main`, in an interpreter that the launcher starts for it.

It opens the call, runs the function with the communicator of all ranks, leaves what came of it in a
file beside the agent and says so. After an error it waits to be ended: others may be amid a message
to it, and who ends first must not look like the one to blame.

Ranks start all at once, on few cores: nothing is imported here that mpi4py does not import as well.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import signal
import sys
from functools import partial

from gridloom.worker.mpi import names
from gridloom.worker.mpi.opening import opened
from gridloom.worker.profiling import words as profile_words

# What type checkers read; see `gridloom/__init__.py`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_LONGEST_WORDS = 500
# When it comes, a rank writes where it is.
STACK_SIGNAL = signal.SIGUSR2


class RankProcess:
    """This process."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._folder = environment["GRIDLOOM_MPI_FOLDER"]
        self._rank = int(environment["GRIDLOOM_MPI_RANK"])
        self._modules = environment.get(names.MODULES_VARIABLE, "")
        self._is_left_out = bool(environment.get(names.ROOT_ONLY_VARIABLE)) and self._rank > 0
        self._comm: Any = None
        self._is_world = bool(environment.get(names.WORLD_VARIABLE))
        self._said = os.open(f"{self._folder}/said", os.O_WRONLY | os.O_CLOEXEC)

    def prepare(self) -> None:
        """Say where it is when it crashes or is asked; find the user's modules."""
        faulthandler.enable()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(f"{self._folder}/stack.{self._rank}", flags, 0o600)
        faulthandler.register(STACK_SIGNAL, descriptor, all_threads=False)
        sys.path[0] = os.getcwd()  # noqa: PTH109  # as the module's docstring says
        if self._modules:
            sys.path.insert(0, self._modules)

    def run(self, number: int, call: str) -> None:
        """One call, to its answer."""
        try:
            data = self._result_of(number, call)
        except BaseException as error:  # noqa: BLE001  # also what ends an interpreter
            self._answer_error(number, error)
        else:
            self._answer(number, names.VALUE, data)

    def serve(self) -> None:
        """Calls as they come, until there are no more."""
        from mpi4py import MPI

        with open(f"{self._folder}/to.{self._rank}", encoding="ascii") as pipe:  # noqa: PTH123
            for line in pipe:
                if line.strip() == names.END:
                    return
                number, _, how = line.strip().partition(" ")
                if how == names.FRESH:
                    self._comm = MPI.COMM_WORLD.Dup()
                self.run(int(number), f"{self._folder}/{names.call_name(int(number))}")

    def _result_of(self, number: int, call: str) -> bytes:
        from mpi4py import MPI

        with open(call, "rb") as file:  # noqa: PTH123
            function, args, kwargs = opened(file)
        if os.environ.get(profile_words.VARIABLE):
            from gridloom.worker.profiling.rank import call as profiled_call

            function = partial(profiled_call, number, function)
        value = function(self._comm or MPI.COMM_WORLD, *args, **kwargs)
        return b"" if self._is_left_out else pickled(value)

    def _answer_error(self, number: int, error: BaseException) -> None:
        from gridloom.worker.failures import call_error

        told = call_error(error)
        lines = f"{type(error).__name__}: {told.message}".splitlines()
        self._answer(number, names.ERROR, told.SerializeToString(), lines[0][:_LONGEST_WORDS])
        sys.stdout.flush()
        sys.stderr.write(told.traceback)
        sys.stderr.flush()
        while not self._is_world:
            signal.pause()

    def _answer(self, number: int, kind: str, data: bytes, words: str = "") -> None:
        """The file is there before it is spoken of. One line is one write: none are mixed."""
        path = f"{self._folder}/{names.answer_name(number, self._rank)}"
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(data)
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


def main() -> None:
    """Run the job's call, or those of its world; MPI ends with the interpreter."""
    process = RankProcess(os.environ)
    process.prepare()
    if os.environ.get(names.WORLD_VARIABLE):
        process.serve()
    else:
        process.run(0, os.environ[names.CALL_VARIABLE])
