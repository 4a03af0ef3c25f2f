"""Start a command as a child that dies with its parent, or say plainly why that cannot be."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from gridloom.worker.supervision import entries, processes
from gridloom.worker.supervision.handover import (
    APPLICATION_ERROR,
    EXIT_NOT_EXECUTABLE,
    EXIT_NOT_FOUND,
    EXIT_NOT_STARTED,
    NODE_LOST,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

# Where memory runs out, the kernel takes a job before it takes the platform.
_OOM_SCORE = b"500"
_NO_FAILURE = b""


class Command(NamedTuple):
    """What to run, where, and with which descriptors as standard input, output and error."""

    argv: list[str]
    env: Mapping[str, str]
    workdir: str
    streams: tuple[int, int, int]


class LaunchError(Exception):
    """The command could not be started; `exit_code` is what a shell would give."""

    def __init__(self, reason: str, exit_code: int, failure_class: str = APPLICATION_ERROR) -> None:
        super().__init__(reason)
        self.reason = reason
        self.exit_code = exit_code
        self.failure_class = failure_class


def launch(command: Command) -> int:
    """Start the command in a session of its own; its pid, which is its group's and session's too.

    It gets SIGKILL when this process ends. When this returns, the command has taken over the child.
    Raises LaunchError.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        os.close(reading)
        os.close(writing)
        reason = f"the machine cannot start another process: {error.strerror}"
        raise LaunchError(reason, EXIT_NOT_STARTED, NODE_LOST) from error
    if pid == 0:
        _become(command, parent, writing)
    os.close(writing)
    with open(reading, "rb") as pipe:  # noqa: PTH123 - a descriptor
        failure = pipe.read()
    if failure != _NO_FAILURE:
        os.waitpid(pid, 0)
        stage, number = failure.decode().split(":")
        raise _explained(stage, int(number), command)
    return pid


def _become(command: Command, parent: int, writing: int) -> NoReturn:
    stage = "prepare"
    try:
        _prepare(parent, command.streams)
        stage = "workdir"
        os.chdir(command.workdir)
        stage = "command"
        if program := entries.own_program(command.argv, command.env):
            entries.run_here(program, command.env)
        os.execvpe(command.argv[0], command.argv, command.env)  # noqa: S606 - there is no shell
    except OSError as error:
        os.write(writing, f"{stage}:{error.errno}".encode())
    except ValueError:  # a NUL in an argument or in the environment
        os.write(writing, f"{stage}:{errno.EINVAL}".encode())
    finally:
        os._exit(EXIT_NOT_FOUND)


def _prepare(parent: int, streams: tuple[int, int, int]) -> None:
    os.setsid()
    processes.die_with_parent()
    if os.getppid() != parent:
        os._exit(EXIT_NOT_STARTED)  # it died before the kernel knew that this should die with it
    _reset_signals()
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(_OOM_SCORE)
    for target, descriptor in enumerate(streams):
        os.dup2(descriptor, target)


def _reset_signals() -> None:
    """Signals as the system makes them, whatever Python, or nohup around the platform, ignores."""
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _explained(stage: str, number: int, command: Command) -> LaunchError:
    """Say why, as clearly as a shell would. Pure but for a look at the command's file."""
    text = os.strerror(number)
    if stage == "workdir":
        return LaunchError(f"the working folder {command.workdir}: {text}", EXIT_NOT_STARTED)
    if stage == "prepare":
        return LaunchError(f"could not prepare the process: {text}", EXIT_NOT_STARTED, NODE_LOST)
    name = command.argv[0]
    if number in {errno.ENOENT, errno.ENOTDIR}:
        if "/" in name and Path(command.workdir, name).is_file():
            return LaunchError(f"the interpreter that {name} names is not here", EXIT_NOT_FOUND)
        return LaunchError(f"command not found: {name}", EXIT_NOT_FOUND)
    hints = {
        errno.EACCES: "permission denied (is it an executable file?)",
        errno.ENOEXEC: "not a program (a script needs a #! line)",
        errno.EINVAL: "a NUL character in an argument or in the environment",
    }
    return LaunchError(f"cannot execute {name}: {hints.get(number, text)}", EXIT_NOT_EXECUTABLE)
