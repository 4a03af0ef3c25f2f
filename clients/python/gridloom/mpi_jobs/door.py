"""A client's end of the way to a world: calls out, answers in, one after the other."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, NamedTuple

from gridloom.errors import UnavailableError
from gridloom.jobs.execution import CHUNK_BYTES, exec_requests, run_command
from gridloom.worker.mpi.report import Report, decoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gridloom.channel import Connection

_ROLE = "rank"
# Tells a world to end in order.
_END = b"-1 0\n"


class WorldAnswer(NamedTuple):
    """What came of a call; whether the world takes another."""

    report: Report
    goes_on: bool


class WorldDoor:
    """An open stream to the agent of a world. For one thread at a time."""

    def __init__(self, connection: Connection, job_id: str, python: str) -> None:
        self._sent: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        command = [python, "-m", "gridloom.worker.mpi.door"]
        requests = exec_requests(job_id, command, _ROLE, 0, iter(self._sent.get, None))
        self._answers = run_command(connection, requests)
        self._bytes = _Bytes(self._read())
        self._number = 0
        self.has_begun = False
        """The last call has reached its ranks."""

    def call(self, pickle: bytes) -> WorldAnswer:
        """One call. UnavailableError: the world has ended without an answer."""
        self._number += 1
        self.has_begun = False
        self._send(b"%d %d\n" % (self._number, len(pickle)) + pickle)
        while True:
            number, size, goes_on = map(int, self._bytes.line().split())
            if number < 0:
                self.has_begun |= number == -self._number
                continue
            report = decoded(self._bytes.take(size))
            if number == self._number:
                return WorldAnswer(report, bool(goes_on))

    def close(self, *, ends_world: bool) -> None:
        """Leave; the world ends in order where that is wanted."""
        if ends_world:
            self._send(_END)
        self._sent.put(None)
        for _ in self._answers:  # the door ends when its input has
            pass

    def _send(self, data: bytes) -> None:
        for start in range(0, len(data), CHUNK_BYTES):
            self._sent.put(data[start : start + CHUNK_BYTES])

    def _read(self) -> Iterator[bytes]:
        for answer in self._answers:
            if answer.WhichOneof("part") == "stdout":
                yield answer.stdout
        raise UnavailableError("the world has ended")


class _Bytes:
    """A stream of pieces, read by lines and sizes."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held = bytearray()

    def line(self) -> bytes:
        """Up to the end of the line."""
        while (at := self._held.find(b"\n")) < 0:
            self._held += next(self._pieces)
        return self.take(at + 1)

    def take(self, size: int) -> bytes:
        """That many bytes."""
        while len(self._held) < size:
            self._held += next(self._pieces)
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken
