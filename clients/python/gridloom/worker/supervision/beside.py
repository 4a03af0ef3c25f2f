"""Run a command beside a supervised one: its environment, its working folder, our own streams.

Ends with everything it started when the supervised command ends, when whoever started it dies or
closes the door (SIGTERM), and of course by itself. It exits as the command did: 128 + the signal,
126 and 127 as a shell.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from gridloom.worker.supervision import handover, processes
from gridloom.worker.supervision.launch import Command, LaunchError, launch
from gridloom.worker.supervision.life import inherited_environment
from gridloom.worker.supervision.records import read_record
from gridloom.worker.supervision.wakeup import Wakeup

_STOPS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def run_beside(folder: Path, argv: list[str]) -> int:
    """Run the command; its exit code."""
    processes.become_subreaper()
    processes.die_with_parent(signal.SIGTERM)
    wakeup = Wakeup({signal.SIGCHLD, *_STOPS})
    neighbour = _neighbour(folder)
    if neighbour is None:
        sys.stderr.write("the replica is not running\n")
        return handover.EXIT_NOT_STARTED
    wakeup.add(neighbour)
    record = read_record(folder / handover.SPEC)
    assert record is not None
    spec = handover.spec_from_record(record)
    env = inherited_environment() | spec.env | {handover.MARKER: spec.marker}
    try:
        child = launch(Command(argv, env, spec.workdir, (0, 1, 2)))
    except LaunchError as error:
        sys.stderr.write(f"{error.reason}\n")
        return error.exit_code
    return handover.exit_outcome(_wait(child, wakeup))[0]


def _neighbour(folder: Path) -> int | None:
    """A descriptor that is ready when the supervisor ends; None if it has."""
    record = read_record(folder / handover.PID)
    if record is None:
        return None
    supervisor = handover.Identity(**record)
    try:
        descriptor = os.pidfd_open(supervisor.pid)
    except ProcessLookupError:
        return None
    return descriptor if processes.is_alive(supervisor) else None


def _wait(child: int, wakeup: Wakeup) -> int:
    codes: dict[int, int] = {}
    over = False
    while child not in codes and not over:
        signals, ready = wakeup.wait(None)
        processes.reap(codes)
        over = bool(ready) or bool(signals & _STOPS)
    rest, _ = processes.end_descendants()
    return (codes | rest).get(child, -signal.SIGKILL)


def main() -> None:
    """Entry: FOLDER COMMAND..."""
    sys.exit(run_beside(Path(sys.argv[1]), sys.argv[2:]))
