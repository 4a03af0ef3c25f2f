"""The agent of a world: ranks that stay, and the calls that come to them through a door.

A door (`gridloom.worker.mpi.door`) has two pipes beside the ranks. Into one it writes calls, each a
line `NUMBER SIZE` and the pickle; from the other it reads `-NUMBER 0 1` when a call begins, and its
answer, `NUMBER SIZE GOES_ON` and a report. There is one door at a time, the newest.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from gridloom.worker.mpi import names
from gridloom.worker.mpi.agent import Agent, failure_of
from gridloom.worker.mpi.call import RankCall

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom.worker.mpi.implementations import Launcher
    from gridloom.worker.mpi.others import Others
    from gridloom.worker.mpi.report import Failure
    from gridloom.worker.mpi.spec import LaunchSpec

_NEVER = float("inf")
# After a rank has raised, the others have so long to come to their ends, or the world is given up.
_GATHER_S = 0.5
# The first call has so long to come, while ranks begin and the client opens its door.
_FIRST_S = 60.0
# Ranks that were told to end in order have so long.
_CLOSE_S = 10.0


class WorldAgent(Agent):
    """Runs calls one after the other; ends when none has come for long enough."""

    def __init__(
        self, spec: LaunchSpec, environment: Mapping[str, str], others: Others | None = None
    ) -> None:
        super().__init__(spec, environment, others)
        self._pipes: list[int] = []
        self._received = bytearray()
        # Number and size of the call that is coming.
        self._head: tuple[int, int] | None = None
        self._answers_to: int | None = None
        self._client_number = -1
        self._is_calling = False
        self._is_closing = False
        self._needs_fresh = False
        self._failed_at = _NEVER

    # ---- the beginning

    def _listen(self) -> None:
        super()._listen()
        self._pipes = self._folder.open_calls()
        # Doors know the working folder only.
        place = self._here / self._spec.report
        place.parent.mkdir(parents=True, exist_ok=True)
        place.with_name("folder").write_text(str(self._folder.path), encoding="utf-8")

    def _all_are_here(self) -> None:
        self._ends_at = time.monotonic() + max(self._spec.idle_timeout_s or 0.0, _FIRST_S)

    def _rank_environment(self, launcher: Launcher) -> dict[str, str]:
        return {**super()._rank_environment(launcher), names.WORLD_VARIABLE: "1"}

    def _rest_from_now(self) -> None:
        self._ends_at = time.monotonic() + (self._spec.idle_timeout_s or _NEVER)

    # ---- what comes

    def _take(self, kind: str, number: int, rank: int, words: str) -> None:
        if kind == names.DOOR:
            self._open_door(number)
            return
        super()._take(kind, number, rank, words)
        if self._is_calling and self._call.is_complete:
            self._answer(self._call.failure(), goes_on=True)
        elif self._call.failed is not None and self._failed_at == _NEVER:
            self._failed_at = time.monotonic()
            self._ends_at = min(self._ends_at, self._failed_at + _GATHER_S)

    def _open_door(self, process: int) -> None:
        with contextlib.suppress(OSError):  # it has gone already
            calls = os.open(self._folder.path / f"door.{process}.in", os.O_RDONLY | os.O_NONBLOCK)
            self._answers_to = os.open(self._folder.path / f"door.{process}.out", os.O_WRONLY)
            self._received, self._head = bytearray(), None
            self._ears.listen(calls, self._door_says)

    def _door_says(self, data: bytes) -> None:
        """A piece of a call; a large one comes in many, of which none is looked at twice."""
        self._received += data
        if self._head is None:
            at = self._received.find(b"\n")
            if at < 0:
                return
            number, size = map(int, self._received[:at].split())
            self._head = number, size
            del self._received[: at + 1]
        self._take_call(*self._head)

    def _take_call(self, number: int, size: int) -> None:
        if number < 0:
            self._close()
        elif len(self._received) >= size:
            pickle = bytes(self._received[:size])
            del self._received[:size]
            self._head = None
            self._begin(number, pickle)

    def _begin(self, number: int, pickle: bytes) -> None:
        """The next call; clients send one after the other. It is acknowledged: it is not lost.

        One that comes when ranks are ending is left: its client sees that, and has other ranks.
        """
        if self._is_closing:
            return
        self._write_to_client(f"-{number} 0 1\n".encode())
        own = self._call.number + 1
        self._client_number, self._is_calling = number, True
        self._call = RankCall(own, self._spec.ranks, self._folder.path)
        (self._folder.path / names.call_name(own)).write_bytes(pickle)
        self._others.call(own, pickle, is_fresh=self._needs_fresh)
        how = f" {names.FRESH}" if self._needs_fresh else ""
        self._needs_fresh, self._failed_at = False, _NEVER
        self._ends_at = time.monotonic() + (self._spec.timeout_s or _NEVER)
        for pipe in self._pipes:
            os.write(pipe, f"{own}{how}\n".encode())

    # ---- what goes

    def _answer(self, failure: Failure | None, *, goes_on: bool) -> None:
        report = self._call.report(failure).encoded()
        (self._folder.path / names.call_name(self._call.number)).unlink(missing_ok=True)
        self._is_calling, self._needs_fresh = False, failure is not None
        self._rest_from_now()
        head = f"{self._client_number} {len(report)} {int(goes_on)}\n".encode()
        self._write_to_client(head + report)

    def _write_to_client(self, data: bytes) -> None:
        view = memoryview(data)
        with contextlib.suppress(OSError):  # nobody is there any more
            while view and self._answers_to is not None:
                view = view[os.write(self._answers_to, view) :]

    def _look(self, *, is_late: bool) -> None:
        if self._is_calling and self._failed_at < _NEVER and is_late:
            self._failure = self._call.failure()
        elif self._is_closing and is_late:
            self._failure = failure_of("ranks that were told to end did not")
        elif not self._is_calling and is_late:
            self._close()
        elif self._is_calling or self._ears.signals:
            super()._look(is_late=is_late and self._is_calling)

    def _close(self) -> None:
        """Nobody wants the ranks any more: they end in order."""
        if not self._is_closing:
            self._is_closing = True
            self._ends_at = time.monotonic() + _CLOSE_S
            self._others.close()
            for pipe in self._pipes:
                os.write(pipe, f"{names.END}\n".encode())

    def _has_failed(self) -> bool:
        """An error of a rank is its call's; the world goes on where it can."""
        return False

    def _judged(self) -> Failure | None:
        is_well = self._failure is None and self._code == 0 and not self._is_calling
        failure = None if is_well else super()._judged()
        if self._is_calling:
            self._answer(failure, goes_on=False)
        return failure

    def _leave_report(self, failure: Failure | None) -> None:
        """Answers went through the door; what is left is why the world ended."""
        self._call = RankCall(-1, self._spec.ranks, self._folder.path)
        if failure is not None:
            super()._leave_report(failure)
