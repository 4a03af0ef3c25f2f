"""A client's way to a world: `python -m gridloom.worker.mpi.door` beside the agent.

What comes in goes to the agent, what the agent answers goes out; both as they are.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time

from gridloom.worker.mpi.spec import SPEC_VARIABLE, from_text

_PATIENCE_S = 60.0
_PAUSE_S = 0.005
_CHUNK_BYTES = 1 << 20


def main() -> int:
    """Until our input ends, or the world does."""
    report = from_text(os.environ[SPEC_VARIABLE]).report
    folder = _folder_in(f"{os.path.dirname(report)}/folder")  # noqa: PTH120
    if folder is None:
        sys.stderr.write("there is no world here\n")
        return 1
    paths = [f"{folder}/door.{os.getpid()}.{way}" for way in ("in", "out")]
    for path in paths:
        os.mkfifo(path, 0o600)
    try:
        said = os.open(f"{folder}/said", os.O_WRONLY)
        # Open for both: the agent must find a reader and a writer when it opens its ends.
        calls, answers = (os.open(path, os.O_RDWR) for path in paths)
        os.write(said, f"door {os.getpid()} 0 \n".encode())
        threading.Thread(target=_pump, args=(answers, 1), daemon=True).start()
        _pump(0, calls)
    finally:
        for path in paths:
            with contextlib.suppress(OSError):
                os.unlink(path)  # noqa: PTH108  # pathlib takes longer to import than all of this
    return 0


def _folder_in(note: str) -> str | None:
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        with contextlib.suppress(OSError), open(note, encoding="utf-8") as file:  # noqa: PTH123
            if folder := file.read():
                return folder
        time.sleep(_PAUSE_S)
    return None


def _pump(source: int, target: int) -> None:
    with contextlib.suppress(OSError):
        while data := os.read(source, _CHUNK_BYTES):
            view = memoryview(data)
            while view:
                view = view[os.write(target, view) :]


if __name__ == "__main__":
    sys.exit(main())
