"""Which replicas of the pool's role are this host's, and the word that one is over.

The supervisor keeps a file with the indices that should be here now and reads a pipe of reports
(`gridloom.worker.supervisor` has the contract). Where there is no supervisor of that kind the
replicas are what they were at the start.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Replicas:
    """The indices that may have a worker here."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        first = int(environment.get("GRIDLOOM_REPLICA_INDEX") or 0)
        count = int(environment.get("GRIDLOOM_REPLICAS") or 1)
        self._at_start = frozenset(range(first, first + count))
        self._file = environment.get("GRIDLOOM_REPLICAS_FILE", "")
        self._report_file = environment.get("GRIDLOOM_REPORT_FILE", "")
        self._ended: set[int] = set()

    def ask_for_notice(self) -> None:
        """Have the supervisor send SIGHUP when the indices change."""
        self._report("notify")

    def granted(self) -> frozenset[int]:
        """The indices that are here now. One that was reported as over never returns."""
        if not self._file:
            return self._at_start
        try:
            text = Path(self._file).read_text(encoding="ascii")
        except FileNotFoundError:
            return self._at_start
        return frozenset(map(int, text.split())) - self._ended

    def report_ended(self, index: int) -> None:
        """A replica is over, and its share of the resources free."""
        if index not in self._ended:
            self._ended.add(index)
            self._report(f"ended {index} 0")

    def _report(self, line: str) -> None:
        if not self._report_file:
            return
        # The supervisor holds the pipe open for reading; without it there is nobody to tell.
        with contextlib.suppress(OSError):
            descriptor = os.open(self._report_file, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.write(descriptor, f"{line}\n".encode())
            finally:
                os.close(descriptor)
