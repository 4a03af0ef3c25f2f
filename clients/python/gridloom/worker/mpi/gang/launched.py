"""A command of the launcher on this host: its streams, its end, and all that it has started."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
from typing import TYPE_CHECKING, BinaryIO

from gridloom.api.mpi.v1 import agent_pb2
from gridloom.worker.supervision import processes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_CHUNK_BYTES = 1 << 16


class Launched:
    """Begins with its construction. OSError where it cannot."""

    def __init__(self, command: str, environment: Mapping[str, str], folder: Path) -> None:
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            env=environment,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._said: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()

    def feed(self, pieces: Iterable[bytes]) -> None:
        """Give these to its standard input, then the end of it."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError), self._process.stdin as stdin:  # it may not want them
            for piece in pieces:
                stdin.write(piece)
                stdin.flush()

    def answers(self) -> Iterator[agent_pb2.LaunchResponse]:
        """What it writes as it comes, and how it ended."""
        streams = {"stdout": self._process.stdout, "stderr": self._process.stderr}
        for name, stream in streams.items():
            threading.Thread(target=self._read, args=(name, stream), daemon=True).start()
        threading.Thread(target=self._sweep, daemon=True).start()
        is_open = len(streams)
        while is_open:
            name, data = self._said.get()
            if data and name == "stdout":
                yield agent_pb2.LaunchResponse(stdout=data)
            elif data:
                yield agent_pb2.LaunchResponse(stderr=data)
            else:
                is_open -= 1
        yield agent_pb2.LaunchResponse(exit_code=self._process.wait())

    def end(self) -> None:
        """Nothing of it is left, nor of what it has started. Does nothing once it has ended."""
        if self._process.poll() is None:
            below = processes.freeze_descendants(self._process.pid)
            processes.send([*below, self._process.pid], signal.SIGKILL)
            self._process.wait()

    def _sweep(self) -> None:
        """What it leaves behind is over with it, and so are its streams."""
        self._process.wait()
        leader = self._process.pid
        left = [pid for pid in processes.every_pid() if processes.session(pid) == leader]
        below = [each for pid in left for each in processes.descendants(pid)]
        processes.send([*left, *below], signal.SIGKILL)

    def _read(self, name: str, stream: BinaryIO | None) -> None:
        assert stream is not None
        with contextlib.suppress(OSError), stream:
            while data := os.read(stream.fileno(), _CHUNK_BYTES):
                self._said.put((name, data))
        self._said.put((name, b""))
