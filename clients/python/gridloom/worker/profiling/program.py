"""Any program as a rank, and the most memory that it took.

`python -m gridloom.worker.profiling.program CMD...` runs it as a child.

It has no profile: what watches Python cannot see into it. The peak is the kernel's own account of
the process, not below the few MiB that this one has.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from gridloom.worker.profiling import words
from gridloom.worker.profiling.rank import leave
from gridloom.worker.profiling.recording import packed

_KIB = 1024
_NOT_FOUND = 127
_BY_SIGNAL = 128


def main() -> int:
    """Run it with this process's streams and descriptors; its exit code, as a shell gives it."""
    command, began = sys.argv[1:], time.perf_counter()
    rank = int(os.environ["GRIDLOOM_MPI_RANK"])
    target = Path.cwd() / words.FOLDER / words.file_name(rank, 0)
    try:
        child = os.posix_spawnp(command[0], command, os.environ)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return _NOT_FOUND
    # All of the job's processes are told to end: this one stays to see how the program does.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _, status, usage = os.wait4(child, 0)
    why = f"{Path(command[0]).name} is not a Python program that runs in the ranks' own Python"
    document = {
        "kind": words.MEMORY,
        "seconds": time.perf_counter() - began,
        "memory": [0, usage.ru_maxrss * _KIB],
        "why": why,
        "frames": [],
    }
    leave(target, packed(document))
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else _BY_SIGNAL - code


if __name__ == "__main__":
    sys.exit(main())
