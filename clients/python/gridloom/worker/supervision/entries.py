"""Programs of this package that supervisors run in a fork of themselves.

What such a program needs is loaded already: it begins in some milliseconds, where an interpreter
takes fifty. Nothing else changes for it: its environment, folder, streams and signals are those of
a program that was started, and it is a child that ends with its supervisor.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from gridloom.worker.supervision import processes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_AGENT = "gridloom.worker.rank_agent"
# By module: the name of its process, and what else it loads when it begins.
_PROGRAMS = {
    _AGENT: (
        "gl-rank-agent",
        ("gridloom.worker.mpi.world", "gridloom.worker.mpi.report", "zipfile"),
    ),
}
# Agents of several hosts talk by gRPC, which does not bear to be forked.
_NOT_WITH = "GRIDLOOM_HOSTS"
# Python's own, as every interpreter has them.
_IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)


def load() -> None:
    """Have everything loaded that these programs begin with."""
    for module, (_, others) in _PROGRAMS.items():
        for name in (module, *others):
            import_module(name)


def own_program(argv: Sequence[str], env: Mapping[str, str]) -> str:
    """The module whose `main` this command runs in this very interpreter; empty: it is another."""
    if len(argv) != 3 or argv[1] != "-m" or argv[2] not in _PROGRAMS or _NOT_WITH in env:  # noqa: PLR2004
        return ""
    return argv[2] if _is_this_interpreter(argv[0]) else ""


def _is_this_interpreter(python: str) -> bool:
    """The same program in the same folder: an environment's own is a link into another's."""
    same_folder = os.path.dirname(python) == os.path.dirname(sys.executable)  # noqa: PTH120
    try:
        return same_folder and os.path.samefile(python, sys.executable)  # noqa: PTH121
    except OSError:
        return False


def run_here(module: str, env: Mapping[str, str]) -> NoReturn:
    """Become this program. All descriptors but the standard ones are closed."""
    code = 1
    try:
        _leave_supervisor(env)
        processes.name_process(_PROGRAMS[module][0])
        code = import_module(module).main()
    except BaseException:  # noqa: BLE001 - no exception may lead back into the supervisor
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _leave_supervisor(env: Mapping[str, str]) -> None:
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    processes.close_inherited()
    os.environ.clear()
    os.environ.update(env)
    _find_packages()


def _find_packages() -> None:
    """Supervisors have the standard library only."""
    if sys.flags.no_site:
        import site

        site.main()
