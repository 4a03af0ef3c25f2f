"""What a process that several replicas share says about each of them."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from gridloom.worker.supervision import handover
from gridloom.worker.supervision.handover import ReplicaEnd

_LONGEST_LINE_BYTES = 65536
_TELLABLE = {handover.APPLICATION_ERROR, handover.TIME_LIMIT, handover.NODE_LOST}


class Reports:
    """The two files between a supervisor and such a process: wanted indices, and reports.

    `ended` holds each replica that was reported, by its index as text.
    """

    def __init__(self) -> None:
        path = Path(handover.REPORT)
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        # Open for both: so there is always a reader and a writer, and no end of file.
        self.descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self.ended: dict[str, ReplicaEnd] = {}
        self.wants_notice = False
        # Class and reason of a failure, as the process itself tells it.
        self.verdict: tuple[str, str] | None = None
        self._seen: set[str] = set()
        self._rest = b""

    def environment(self) -> dict[str, str]:
        """What tells the process where the files are."""
        here = Path.cwd()
        return {
            "GRIDLOOM_REPLICAS_FILE": str(here / handover.REPLICAS),
            "GRIDLOOM_REPORT_FILE": str(here / handover.REPORT),
        }

    def present(self) -> int:
        """How many replicas there are: wanted now or before, and not over."""
        self._seen.update(_wanted())
        return len(self._seen.difference(self.ended))

    def read(self) -> None:
        """Take in the lines that have come."""
        with contextlib.suppress(BlockingIOError):
            while True:
                *lines, rest = (self._rest + os.read(self.descriptor, 65536)).split(b"\n")
                self._rest = rest[-_LONGEST_LINE_BYTES:]
                for line in lines:
                    self._take(line)

    def _take(self, line: bytes) -> None:
        """Note one line; what is no known line is left out."""
        words = line.split()
        if words == [b"notify"]:
            self.wants_notice = True
        if words[:1] == [b"failed"]:
            self._take_verdict(line.decode("utf-8", "replace"))
            return
        with contextlib.suppress(ValueError):
            keyword, index, code = words
            if keyword == b"ended":
                self.ended.setdefault(str(int(index)), self._end(int(index), int(code)))

    def _take_verdict(self, line: str) -> None:
        _, failure_class, *reason = [*line.split(" ", 2), "", ""][:3]
        if failure_class in _TELLABLE and any(reason) and self.verdict is None:
            self.verdict = failure_class, reason[0]

    def _end(self, index: int, code: int) -> ReplicaEnd:
        exit_code, number = handover.exit_outcome(code)
        if str(index) not in _wanted():
            failure_class = handover.CANCELLED
        else:
            failure_class = handover.APPLICATION_ERROR if code else handover.NO_FAILURE
        return ReplicaEnd(exit_code, number, failure_class, time.time())


def _wanted() -> list[str]:
    return Path(handover.REPLICAS).read_text(encoding="ascii").split()
