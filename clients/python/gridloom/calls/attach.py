"""Calls that another session submitted: another process, or this one's parent before a fork.

Their results are read by id. A few threads do it for all of them: each looks whether the result is
there, waits a while for it, and lets the next call have its turn.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import weakref
from typing import TYPE_CHECKING, Any

from gridloom import ids
from gridloom.api.functions.v1 import call_pb2, functions_pb2
from gridloom.calls import fork
from gridloom.calls.future import OK, CallFuture
from gridloom.calls.reading import ResultsFollowing, ask
from gridloom.errors import GridloomError, NotFoundError, exception_from_call_error
from gridloom.objects import ObjectsClient
from gridloom.payload import PayloadCodec

if TYPE_CHECKING:
    from gridloom.calls.reading import Part
    from gridloom.channel import Connection

MOST_THREADS = 16
# How long one call is waited for while others wait for their turn, and how long at least.
_TURN_S = 5.0
_SHORTEST_TURN_S = 0.05
_DEFAULT_GRACE_MS = 5000


def reopened_call(client_name: str, identifier: str) -> CallFuture[Any]:
    """The future of a call, from its pickled handle. Nothing is asked before somebody waits."""
    from gridloom.client import client_of

    return foreign_call(client_of(client_name).connection, identifier)


def reopened_unsent(
    client_name: str, session: str, label: str, error: BaseException
) -> CallFuture[Any]:
    """The future of a call that was never sent, from its pickle: it has failed everywhere."""
    from gridloom.client import client_of

    source = ForeignSession(client_of(client_name).connection, session)
    future: CallFuture[Any] = CallFuture(source, label)
    future._sequence = 0  # noqa: SLF001  # no call has this number
    future.fail(error)
    return future


def foreign_call(connection: Connection, identifier: str) -> CallFuture[Any]:
    """A future of this call, whoever submitted it."""
    session, number = ids.split_call_id(identifier)
    future: CallFuture[Any] = CallFuture(ForeignSession(connection, session), "call")
    future._sequence = number  # noqa: SLF001  # it has its number already
    return future


class ForeignSession:
    """Where the futures of calls come from that another session submitted."""

    def __init__(self, connection: Connection, name: str) -> None:
        self.connection = connection
        self.name = name

    def load(self, envelope: bytes) -> Any:
        """The value of an envelope."""
        return PayloadCodec(ObjectsClient(self.connection)).decode(envelope)

    def error_of(self, status: int, value: bytes) -> BaseException:
        """The exception of a result that is not OK."""
        return exception_from_call_error(status, call_pb2.CallError.FromString(value))

    def cancel_call(self, future: CallFuture[Any], grace_s: float | None) -> None:
        """Ask the service; a call that is over already stays what it is."""
        grace_ms = _DEFAULT_GRACE_MS if grace_s is None else round(grace_s * 1000)
        request = functions_pb2.CancelCallsRequest(
            call_ids=[future.id], running=True, grace_ms=grace_ms
        )
        self.connection.call(ask("CancelCalls", request))

    def let_arrive(self, future: CallFuture[Any]) -> None:
        """Whoever submitted it has seen to that."""

    def await_result(self, future: CallFuture[Any]) -> None:
        """Begin to look for the result."""
        watch(self.connection, future)


class Watcher:
    """Reads the results of foreign calls of one platform, as long as there are any to read."""

    def __init__(self, connection: Connection) -> None:
        # Weakly: the table of watchers must not keep a connection that its user has let go.
        self._connection = weakref.ref(connection)
        self.epoch = fork.epoch()
        self._lock = threading.Lock()
        self._watched: set[int] = set()
        self._waiting: queue.SimpleQueue[CallFuture[Any]] = queue.SimpleQueue()
        self._threads = 0

    def watch(self, future: CallFuture[Any]) -> None:
        """Resolve this future some time."""
        with self._lock:
            if id(future) in self._watched:
                return
            self._watched.add(id(future))
            self._waiting.put(future)
            if self._threads < MOST_THREADS:
                self._threads += 1
                threading.Thread(target=self._read, name="gridloom-reader", daemon=True).start()

    def _next(self) -> CallFuture[Any] | None:
        """The call whose turn it is, or None: this thread is not needed any more."""
        with self._lock:
            with contextlib.suppress(queue.Empty):
                return self._waiting.get_nowait()
            self._threads -= 1
            return None

    def _read(self) -> None:
        while (future := self._next()) is not None:
            connection = self._connection()
            if connection is None or self._read_one(connection, future):
                with self._lock:
                    self._watched.discard(id(future))
            else:
                self._waiting.put(future)

    def _read_one(self, connection: Connection, future: CallFuture[Any]) -> bool:
        """Whether it is over with this call."""
        turns = 1 + self._waiting.qsize() / MOST_THREADS
        try:
            return read_result(connection, future, max(_TURN_S / turns, _SHORTEST_TURN_S))
        except TimeoutError:
            return False
        except GridloomError as error:
            return future.fail(error)


def read_result(connection: Connection, future: CallFuture[Any], timeout_s: float) -> bool:
    """Wait for the call's result and resolve the future with it.

    A `TimeoutError` where it takes longer; a `NotFoundError` where there is no such call any more.
    """
    following = ResultsFollowing(future.id)
    parts = list(connection.follow(following, timeout_s=timeout_s))
    if not parts:
        raise NotFoundError(f"the result of {future.id} is not kept any more", id=future.id)
    if parts[0].items == 0:
        return future.deliver(parts[0].status, parts[0].value)
    return _deliver_chunk(connection, future, parts)


def _deliver_chunk(connection: Connection, future: CallFuture[Any], parts: list[Part]) -> bool:
    """Resolve the future of a chunk of a map with the list of its values, or its first failure."""
    failed = next((part for part in parts if part.status != OK), None)
    if failed is not None:
        return future.deliver(failed.status, failed.value)
    codec = PayloadCodec(ObjectsClient(connection))
    return future.fulfil([one for part in sorted(parts) for one in codec.decode(part.value)])


_watchers: weakref.WeakKeyDictionary[Connection, Watcher] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def watch(connection: Connection, future: CallFuture[Any]) -> None:
    """Have the result of a foreign call read in the background."""
    with _lock:
        watcher = _watchers.get(connection)
        if watcher is None or watcher.epoch != fork.epoch():
            watcher = _watchers[connection] = Watcher(connection)
    watcher.watch(future)


def _new_lock() -> None:
    global _lock  # noqa: PLW0603  # the parent's may be held by a thread that is not here
    _lock = threading.Lock()


fork.after_in_child(_new_lock)
