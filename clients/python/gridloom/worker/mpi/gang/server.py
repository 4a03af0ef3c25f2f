"""The agent of a host as the others of its gang call it."""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc

from gridloom.api.mpi.v1 import agent_pb2, agent_pb2_grpc
from gridloom.worker.mpi.gang.launched import Launched
from gridloom.worker.mpi.gang.secret import GangSecret, StrangerError, Words
from gridloom.worker.mpi.gang.wire import ATTEND, LAUNCH, SERVER_OPTIONS, address_of_peer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    Context = grpc.ServicerContext

# One line of the first host, a few commands; strangers wait behind them.
_THREADS = 16
_LAST_WORDS_S = 2.0


class Line:
    """The first host's stream, as far as this one answers into it."""

    def __init__(self, caller: str) -> None:
        self.caller = caller
        self._answers: queue.SimpleQueue[agent_pb2.AttendResponse | None] = queue.SimpleQueue()

    def say(self, **part: Any) -> None:
        """Answer."""
        self._answers.put(agent_pb2.AttendResponse(**part))

    def hang_up(self) -> None:
        """No more answers."""
        self._answers.put(None)

    def said(self) -> Iterator[agent_pb2.AttendResponse]:
        """All answers."""
        return iter(self._answers.get, None)


class Heard(NamedTuple):
    """What has come by a line; None: the line is gone."""

    line: Line
    request: agent_pb2.AttendRequest | None


class HostSide(NamedTuple):
    """What a host's agent has for those who call: its name, and what commands run in."""

    name: str
    secret: GangSecret
    environment: Mapping[str, str]
    folder: Path


class RankAgentServicer(agent_pb2_grpc.RankAgentServiceServicer):
    """Strangers are turned away. What the first host says goes to `hear`; commands run here."""

    def __init__(self, side: HostSide, hear: Callable[[Heard], object]) -> None:
        self._side = side
        self._hear = hear
        self._attended = threading.Lock()
        self._running: set[Launched] = set()

    def Attend(  # noqa: N802
        self, requests: Iterator[agent_pb2.AttendRequest], context: Context
    ) -> Iterator[agent_pb2.AttendResponse]:
        """The line of the first host, of which there is one."""
        context.send_initial_metadata(self._proof(ATTEND, context))
        if not self._attended.acquire(blocking=False):
            context.abort(grpc.StatusCode.ALREADY_EXISTS, "this host is attended to already")
        line = Line(address_of_peer(context.peer()))
        context.add_callback(lambda: self._gone(line))
        threading.Thread(target=self._listen, args=(line, requests), daemon=True).start()
        yield from line.said()

    def Launch(  # noqa: N802
        self, requests: Iterator[agent_pb2.LaunchRequest], context: Context
    ) -> Iterator[agent_pb2.LaunchResponse]:
        """Run a command of the launcher, for as long as its caller is there."""
        context.send_initial_metadata(self._proof(LAUNCH, context))
        launched = Launched(next(requests).command, self._side.environment, self._side.folder)
        self._running.add(launched)
        try:
            if not context.add_callback(launched.end):  # the caller has gone already
                return
            feed = (self._stdin(requests),)
            threading.Thread(target=launched.feed, args=feed, daemon=True).start()
            yield from launched.answers()
        finally:
            launched.end()
            self._running.discard(launched)

    def end_all(self) -> None:
        """Commands that still run are ended."""
        for launched in list(self._running):
            launched.end()

    def _proof(self, method: str, context: Context) -> Words:
        metadata = ((key, value) for key, value in context.invocation_metadata() or ())
        try:
            return self._side.secret.answerer_words(method, self._side.name, metadata)
        except StrangerError as error:
            sys.stderr.write(f"[agent] refused a call of {context.peer()}: {error}\n")
            sys.stderr.flush()
            context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))
            raise  # abort has raised

    def _listen(self, line: Line, requests: Iterable[agent_pb2.AttendRequest]) -> None:
        with contextlib.suppress(Exception):  # of whatever kind: the line is gone then
            for request in requests:
                self._hear(Heard(line, request))

    def _gone(self, line: Line) -> None:
        line.hang_up()
        self._hear(Heard(line, None))

    @staticmethod
    def _stdin(requests: Iterator[agent_pb2.LaunchRequest]) -> Iterator[bytes]:
        with contextlib.suppress(Exception):  # the caller is gone, which `Launch` sees to
            for request in requests:
                yield request.stdin


class AgentServer:
    """Serves from `start` until `stop`. OSError where the port is another's."""

    def __init__(self, servicer: RankAgentServicer, port: int) -> None:
        self._servicer = servicer
        self._server = grpc.server(ThreadPoolExecutor(_THREADS), options=SERVER_OPTIONS)
        agent_pb2_grpc.add_RankAgentServiceServicer_to_server(servicer, self._server)
        try:
            self._server.add_insecure_port(f"[::]:{port}")
        except RuntimeError as error:
            raise OSError(f"port {port}, where this host's agent listens, is taken") from error

    def start(self) -> None:
        """From now on others are answered."""
        self._server.start()

    def stop(self) -> None:
        """What was said last is heard; commands that still run are ended."""
        self._servicer.end_all()
        self._server.stop(_LAST_WORDS_S).wait()
