"""The first host's line to another one."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc

from gridloom.api.mpi.v1 import agent_pb2, agent_pb2_grpc
from gridloom.worker.mpi.gang.reach import UnreachableError, address_of
from gridloom.worker.mpi.gang.secret import StrangerError
from gridloom.worker.mpi.gang.wire import ATTEND, CALLER_OPTIONS, target

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom.worker.hosts import Host
    from gridloom.worker.mpi.gang.secret import GangSecret


class Gone(NamedTuple):
    """The line is no more. `is_silent`: the host itself does not answer, not only its agent."""

    reason: str
    was_there: bool
    is_silent: bool = False


class Word(NamedTuple):
    """What has come from a host."""

    line: Attendance
    what: agent_pb2.AttendResponse | Gone


class Attendance:
    """Waits for the host, then tells all that it says; last of all that it is gone.

    What is said before it is there waits: who cannot prove itself is told nothing.
    """

    def __init__(self, host: Host, port: int, secret: GangSecret) -> None:
        self.host = host
        self.address = ""
        self._port = port
        self._secret = secret
        self._requests: queue.SimpleQueue[agent_pb2.AttendRequest | None] = queue.SimpleQueue()
        self._given_up = threading.Event()
        self._call: Any = None

    def start(self, until: float, tell: Callable[[Word], object]) -> None:
        """In a thread of its own, which calls `tell`."""
        threading.Thread(target=self._attend, args=(until, tell), daemon=True).start()

    def say(self, **part: Any) -> None:
        """Ask or tell the host."""
        self._requests.put(agent_pb2.AttendRequest(**part))

    def leave(self) -> None:
        """Nothing more is to be said or heard."""
        self._given_up.set()
        self._requests.put(None)
        if self._call is not None:
            self._call.cancel()

    def _attend(self, until: float, tell: Callable[[Word], object]) -> None:
        try:
            self.address = address_of(self.host.name, self._port, until, self._given_up)
            self._talk(tell)
            gone = Gone("its agent has ended", was_there=True)
        except UnreachableError as error:
            gone = Gone(str(error), was_there=False)
        except StrangerError as error:
            gone = Gone(str(error), was_there=False)
        except grpc.RpcError as error:
            gone = _gone(error)
        tell(Word(self, gone))

    def _talk(self, tell: Callable[[Word], object]) -> None:
        place = target(self.address, self._port)
        with grpc.insecure_channel(place, options=CALLER_OPTIONS) as channel:
            said = self._secret.caller_words(ATTEND, self.host.name)
            stub = agent_pb2_grpc.RankAgentServiceStub(channel)
            self._call = stub.Attend(iter(self._requests.get, None), metadata=said)
            self._secret.check_answerer(
                ATTEND, self.host.name, said, self._call.initial_metadata() or ()
            )
            for response in self._call:
                tell(Word(self, response))


def _gone(error: grpc.RpcError) -> Gone:
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return Gone(f"it refuses this host: {details}", was_there=False)
    if code is not grpc.StatusCode.UNAVAILABLE:
        return Gone(f"its agent answered {code.name}: {details}", was_there=True)
    is_silent = "watchdog" in details or "timed out" in details or "timeout" in details
    words = "it does not answer any more" if is_silent else "its agent has ended"
    return Gone(words, was_there=True, is_silent=is_silent)
