"""The supervisor: runs one command, and leaves a durable record of how it ended.

A runtime launches one for each replica, or for all replicas of a colocated role on a node, with a
folder that holds `spec.json` (`gridloom.worker.supervision.handover` has the files). It needs
nobody while it runs: the platform may die, restart and find it again. What it promises:

- The command runs at most once for a folder, whoever is launched on it how often: the lock and the
  `pid` file are taken before the command starts.
- `end.json` is written last, on disk for good, and says how the command ended: exit code, signal,
  processor time and peak memory of the whole tree, class of failure, reason, output files. Streams
  and outputs are on disk for good before it.
- When it is written, no process of the tree lives, not even one that forked away (the supervisor
  is a subreaper). When the supervisor itself is killed, the command dies with it; what it had
  started is ended by the keeper that launched the supervisor, or by the runtime.
- A time limit, a memory limit (of the whole tree, looked at as often as needed), a request to stop
  and a stop of the machine end the command: SIGTERM to its process group, SIGKILL to everything
  after the grace. Too much memory is SIGKILL at once. The first cause stands.
- Streams are plain files that the command appends to; beyond a size their middle is cut out.

It listens to signals: USR1 means that something in the folder has changed (`stop.json`, here or one
folder up, or `replicas`); TERM, INT and HUP that the machine goes down (NODE_LOST).

**Replicas that share a process** (a colocated role). The command starts once, with
GRIDLOOM_REPLICAS (how many at the start), GRIDLOOM_REPLICA_INDEX (the lowest) and two paths:

- GRIDLOOM_REPLICAS_FILE: the indices that should be there now, in one line, blanks between. It is
  replaced whole when that changes. A process that has written the line `notify` to the report file
  gets SIGHUP after each change; one that has not must look by itself.
- GRIDLOOM_REPORT_FILE: a pipe for lines. `ended INDEX CODE` says that one replica is over and its
  share of the resources free; CODE as Python gives return codes (negative: a signal). Each line
  must go in one write. A replica that is over stays so: growth brings new indices. One that the
  file leaves out should be ended and reported. When the process ends, all others end with it.
  `failed CLASS REASON` tells before an exit with a code other than 0 why that is: the class is
  APPLICATION_ERROR, TIME_LIMIT or (of another host of the gang) NODE_LOST, the reason one sentence.
  The first such line counts.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from gridloom.worker.supervision import handover, processes
from gridloom.worker.supervision.life import Supervision
from gridloom.worker.supervision.records import (
    read_record,
    sync_file,
    sync_tree,
    take_lock,
    write_record,
)

if TYPE_CHECKING:
    from gridloom.worker.supervision.handover import End

_RETRY_S = 1.0


def supervise(folder: Path) -> None:
    """Do the work of one folder, if nobody has begun it. Returns when all of it is on disk."""
    os.chdir(folder)
    lock = take_lock(Path(handover.LOCK))
    if lock is None:
        return
    try:
        if not Path(handover.PID).exists() and not Path(handover.END).exists():
            _supervise_here()
    finally:
        os.close(lock)


def _supervise_here() -> None:
    processes.become_subreaper()
    processes.name_process("gl-supervisor")
    record = read_record(Path(handover.SPEC))
    me = processes.identity(os.getpid())
    assert record is not None
    assert me is not None
    # From here on it hears signals; who finds the pid file may send them.
    supervision = Supervision(handover.spec_from_record(record))
    write_record(Path(handover.PID), me._asdict(), durable=False)
    try:
        end = supervision.run()
    except Exception as error:  # noqa: BLE001 - whatever it was: end the tree, and say so
        traceback.print_exc()
        end = supervision.broken(repr(error))
    _sync_what_is_left()
    _record_end(end)
    supervision.notify()


def _sync_what_is_left() -> None:
    """Streams and outputs are on disk before the end is: who knows of that may count on them."""
    for stream in (handover.STDOUT, handover.STDERR):
        for name in (stream + handover.GAP_SUFFIX, stream):
            # What a disk does not keep it will not keep later either.
            with contextlib.suppress(OSError):
                if Path(name).stat().st_size:
                    sync_file(Path(name))
    with contextlib.suppress(OSError):
        sync_tree(Path(handover.OUTPUTS))


def _record_end(end: End) -> None:
    """Write it, however long the disk is full: nobody else knows how it ended."""
    while True:
        with contextlib.suppress(OSError):
            write_record(Path(handover.END), end._asdict(), durable=True)
            return
        time.sleep(_RETRY_S)


def main(arguments: list[str]) -> int:
    """Entry: `python -m gridloom.worker.supervisor FOLDER`."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m gridloom.worker.supervisor FOLDER\n")
        return 2
    with contextlib.suppress(PermissionError):  # the leader of a group cannot leave its session
        os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    supervise(Path(arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
