"""The agent of a host that is not the first: has its ranks, and does what the first one says."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

from gridloom.worker.hosts import own_host
from gridloom.worker.mpi import names
from gridloom.worker.mpi.agent import Agent, failure_of
from gridloom.worker.mpi.folder import RankFolder
from gridloom.worker.mpi.gang.inbox import Inbox
from gridloom.worker.mpi.gang.lead import ranks_by_host
from gridloom.worker.mpi.gang.secret import GangSecret
from gridloom.worker.mpi.gang.server import AgentServer, Heard, HostSide, RankAgentServicer
from gridloom.worker.mpi.gang.wire import PIECE_BYTES
from gridloom.worker.mpi.implementations import NotHereError
from gridloom.worker.mpi.leftovers import free_shared_memory
from gridloom.worker.supervision import processes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gridloom.api.mpi.v1 import agent_pb2
    from gridloom.worker.hosts import Host
    from gridloom.worker.mpi.gang.server import Line
    from gridloom.worker.mpi.report import Failure
    from gridloom.worker.mpi.spec import LaunchSpec

_NEVER = float("inf")
_LONGEST_WAIT_S = 3600.0
_LINGER_S = 0.05
_LONGEST_LINE_BYTES = 4096


class Follower(Agent):
    """Its exit code is 0 when the first host has let it go, whatever it thinks of the ranks."""

    def __init__(
        self, spec: LaunchSpec, environment: Mapping[str, str], hosts: Sequence[Host]
    ) -> None:
        super().__init__(spec, environment)
        self._host = own_host(hosts, environment)
        self._first = hosts[0]
        ranks = ranks_by_host(spec, hosts)[self._host.name]
        self._folder = RankFolder(self._folder.path, ranks)
        self._secret = GangSecret(environment.get("GRIDLOOM_TOKEN", ""))
        self._line: Line | None = None
        self._refusal: Failure | None = None
        self._pipes: list[int] = []
        self._pickle = bytearray()
        self._is_let_go = False
        self._server: AgentServer | None = None

    def _listen(self) -> None:
        super()._listen()
        if self._spec.is_world:
            self._pipes = self._folder.open_calls()

    def _launch(self) -> None:
        """Be there for the first host. What this one has not, that one is told."""
        environment: dict[str, str] = {}
        try:
            launcher = self._prepare()
            environment = self._rank_environment(launcher)
        except (NotHereError, OSError) as error:
            self._refusal = failure_of(f"host {self._host}: {error}", exit_code=127)
        self._ends_at = time.monotonic() + self._spec.gather_s
        inbox: Inbox[Heard] = Inbox(self._ears, self._hear)
        side = HostSide(self._host.name, self._secret, environment, self._here)
        self._server = AgentServer(RankAgentServicer(side, inbox.put), self._spec.agent_port)
        self._server.start()

    def _rank_environment(self, launcher: Any) -> dict[str, str]:
        environment = super()._rank_environment(launcher)
        environment["GRIDLOOM_MPI_HERE"] = str(self._here)  # the launcher says the first host's
        if self._spec.is_world:
            environment[names.WORLD_VARIABLE] = "1"
        return environment

    # ---- what the first host says

    def _hear(self, heard: Heard) -> None:
        line, request = heard
        if self._line is None:
            self._line, self._ends_at = line, _NEVER
        if line is not self._line or self._is_let_go:
            return
        if request is None:
            self._failure = failure_of(f"the first host, {self._first}, is gone")
            return
        match request.WhichOneof("part"):
            case "begin":
                self._begin(line)
            case "call":
                self._take_piece(request.call)
            case "close":
                self._tell_ranks(names.END)
            case "terminate":
                self._pass_on_the_end()
            case "look":
                line.say(stacks={"by_rank": self._stacks()})
            case "finish":
                self._is_let_go, self._code = True, 0

    def _begin(self, line: Line) -> None:
        if self._refusal is None:
            line.say(ready={"caller": line.caller})
        else:
            line.say(refused={"reason": self._refusal.reason, "exit_code": self._refusal.exit_code})

    def _take_piece(self, piece: agent_pb2.RankCallPiece) -> None:
        self._pickle += piece.data
        if piece.last:
            (self._folder.path / names.call_name(piece.number)).write_bytes(self._pickle)
            self._pickle = bytearray()
            self._tell_ranks(f"{piece.number} {names.FRESH}" if piece.fresh else str(piece.number))

    def _tell_ranks(self, words: str) -> None:
        for pipe in self._pipes:
            os.write(pipe, f"{words}\n".encode())

    # ---- what ranks say

    def _take(self, kind: str, number: int, rank: int, words: str) -> None:
        if kind == names.DOOR or self._line is None:
            return
        if kind == names.EXIT:
            self._line.say(ended={"rank": rank, "code": number})
            return
        self._send_answer(self._line, kind, number, rank, words)

    def _send_answer(self, line: Line, kind: str, number: int, rank: int, words: str) -> None:
        path = self._folder.path / names.answer_name(number, rank)
        head = {"number": number, "rank": rank, "kind": kind, "words": words}
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            while True:
                data = file.read(PIECE_BYTES)
                is_last = file.tell() >= size
                line.say(answer={**head, "data": data, "last": is_last})
                if is_last:
                    break
        path.unlink()

    def _look(self, *, is_late: bool) -> None:
        if self._ears.signals:
            self._ears.signals.clear()
            self._pass_on_the_end()
            if self._line is None:
                self._failure = failure_of("it was told to end", exit_code=128 + signal.SIGTERM)
        elif is_late and self._line is None:
            self._failure = failure_of(
                f"the first host, {self._first}, has not come within {self._spec.gather_s:g} s"
            )

    # ---- the end

    def _are_at_work(self) -> bool:
        """The first host ends a launch; here those are told that are there."""
        return True

    def _judged(self) -> Failure | None:
        """The first host judges."""
        return self._failure

    def _leave_report(self, failure: Failure | None) -> None:
        """So does it report."""

    def _leave_times(self) -> None:
        """And so it says when ranks were at work, but not with how many processors here."""
        if name := self._environment.get(names.TIMES_VARIABLE):
            from gridloom.worker.mpi.times import leave_place

            leave_place(self._here / name)

    def _end_ranks(self) -> None:
        processes.send(self._rank_processes(), signal.SIGKILL)
        self._ears.wait(_LINGER_S)
        self._ears.drain()
        free_shared_memory()
        if self._line is not None:
            self._line.say(traces=self._own_traces())
            self._line.hang_up()
        if self._server is not None:
            self._server.stop()

    def _own_traces(self) -> dict[str, Any]:
        return {
            "now": time.time(),
            "ends": [
                {
                    "rank": end.rank,
                    "code": end.code,
                    "at": end.at,
                    "began_at": self._folder.began_at(end.rank) or 0.0,
                }
                for end in self._folder.exits()
            ],
            "lines": {
                rank: {"lines": [line[:_LONGEST_LINE_BYTES] for line in lines]}
                for rank, lines in self._taggers["err"].last.items()
            },
        }
