"""A session: the one stream on which a process sends its calls and gets their results.

The stream may break as often as it likes. Calls are sent again until they are on the platform's
disk, results until this side has said that it has them; nothing is lost and nothing is delivered
twice. Two threads serve all calls of the process: gRPC's own, which pulls messages, and the
session's, which receives.
"""

from __future__ import annotations

import atexit
import logging
import secrets
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc

from gridloom import ids
from gridloom.api.functions.v1 import call_pb2, session_pb2
from gridloom.calls import fork
from gridloom.calls.definition import function_definition
from gridloom.calls.inbox import Inbox
from gridloom.calls.outbox import Outbox
from gridloom.calls.stream import Requests
from gridloom.errors import (
    GridloomError,
    InternalError,
    StorageFullError,
    UnavailableError,
    exception_from_call_error,
)
from gridloom.objects import ObjectsClient
from gridloom.patience import Patience
from gridloom.payload import PayloadCodec
from gridloom.pipe import Pipe
from gridloom.rpc_errors import Refusal, refusal_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom.api.functions.v1.session_pb2 import (
        CallSpec,
        FunctionDefinition,
        OpenSessionResponse,
    )
    from gridloom.calls.future import CallFuture
    from gridloom.calls.outbox import Extras, Sink
    from gridloom.calls.output import Printed
    from gridloom.channel import Connection
    from gridloom.endpoint import Endpoint
    from gridloom.pipe_frames import Metadata

DEFAULT_GRACE_S = 5.0
# How long an ending process waits until its calls are on the platform's disk.
FLUSH_AT_EXIT_S = 10.0
_MOST_LISTENERS = 100_000
# Functions whose digest is remembered; of one that was forgotten it is made again.
_MOST_FUNCTIONS = 10_000
_METHOD = "/gridloom.api.functions.v1.FunctionsService/OpenSession"

_log = logging.getLogger("gridloom.session")


class Session:
    """The calls of one process on one platform. Safe to use from any thread, not after a fork."""

    def __init__(self, connection: Connection, *, project: str = "") -> None:
        self._connection = connection
        self._project = project
        self._key = secrets.token_bytes(16)
        self.name = ids.session_name(self._key)
        self.epoch = fork.epoch()
        self.objects = ObjectsClient(connection)
        self.codec = PayloadCodec(self.objects)
        self._functions: dict[tuple[int, str], tuple[Callable[..., Any], bytes]] = {}
        self.outbox = Outbox(self.name)
        self.usable = True
        """Whether new calls may be sent on it: no fork, no close and no failure came between."""
        # What the service has measured of specs, in seconds an item; what maps have, of functions.
        self.estimates: dict[int, float] = {}
        self.item_times: dict[bytes, float] = {}
        self._listeners: dict[int, Callable[[Printed], None]] = {}
        self.refusals = 0
        """How often calls were refused: specifications that were said before may be of no use."""
        self._inbox = Inbox(
            self.outbox, self._listeners, self.name, self._was_refused, self.codec.pin
        )
        self._numbers_lock = threading.Lock()
        self._spec_numbers: dict[bytes, int] = {}
        self._next_spec = 0
        self._next_group = 0
        self._refuses = False
        self._closing = threading.Event()
        self._begun = threading.Event()
        self._requests: Requests | None = None
        self._stream: Any = None
        self._thread = threading.Thread(target=self._run, name="gridloom-session", daemon=True)
        self._thread.start()
        _sessions.add(self)
        # An interpreter that ends starts no threads (3.12 on), and a stream needs one: it must be
        # there before the program may end, or its calls would never be sent.
        self._begun.wait(_FIRST_STREAM_S)

    # ---- sending

    def digest_of(self, function: Callable[..., Any], profile: str = "") -> bytes:
        """The digest of a function, which is pickled and made known when it is first asked for."""
        known = self._functions.get((id(function), profile))
        if known is None:
            if len(self._functions) >= _MOST_FUNCTIONS:
                self._functions.pop(next(iter(self._functions)))
            definition = function_definition(function, self.codec, self.objects, profile)
            self.define(definition)
            # The function is kept with its digest: its id must not become another's.
            known = self._functions[id(function), profile] = function, definition.digest
        return known[1]

    def define(self, function: FunctionDefinition) -> None:
        """Make a function known; later specs may name its digest."""
        if function.digest not in self.outbox.spoken.functions:
            self.outbox.spoken.functions[function.digest] = function
            self.outbox.control(lambda message: message.functions.append(function))

    def spec_number(self, spec: CallSpec) -> int:
        """The number of a spec of this content; it is said when it is new."""
        content = spec.SerializeToString(deterministic=True)
        with self._numbers_lock:
            number = self._spec_numbers.get(content)
            if number is not None:
                return number
            self._next_spec += 1
            numbered = session_pb2.CallSpec()
            numbered.CopyFrom(spec)
            numbered.number = self._next_spec
            if not spec.group:  # a group's specs are its own, and go with it
                self._spec_numbers[content] = numbered.number
        self.outbox.spoken.specs[numbered.number] = numbered
        self.outbox.control(lambda message: message.specs.append(numbered))
        return numbered.number

    def new_group(self, kind: str, name: str = "") -> int:
        """The number of a new group: its results stay on the platform for any reader."""
        with self._numbers_lock:
            self._next_group += 1
            group = session_pb2.GroupDefinition(number=self._next_group, name=name, kind=kind)
        self.outbox.spoken.groups[group.number] = group
        self.outbox.control(lambda message: message.groups.append(group))
        return group.number

    def seal(self, group: int) -> None:
        """Say that no more calls of this group come; where all that were put could be sent."""
        if not self.usable:
            return
        self.outbox.spoken.seals[group] = self.outbox.last
        self.outbox.control(lambda message: message.seals.append(_seal(group)))

    def put(
        self,
        spec: int,
        arguments: bytes,
        sink: Sink,
        extras: Extras | None = None,
        listener: Callable[[Printed], None] | None = None,
    ) -> bool:
        """Send a call, as `Outbox.put`; `listener` is told what it prints."""
        if not self.outbox.put(spec, arguments, sink, extras):
            return False
        if listener is not None:
            if len(self._listeners) >= _MOST_LISTENERS:
                self._listeners.pop(next(iter(self._listeners)))
            self._listeners[sink._sequence] = listener  # noqa: SLF001  # its number was given now
        return True

    def cancel(self, first: int, count: int = 1, *, running: bool, grace_s: float | None) -> None:
        """Ask that calls with these numbers do not begin and, with `running`, that they stop."""
        grace_ms = round((DEFAULT_GRACE_S if grace_s is None else grace_s) * 1000)
        cancel = session_pb2.CallCancel(
            first_sequence=first, count=count, running=running, grace_ms=grace_ms if running else 0
        )
        self.outbox.spoken.cancels.append(cancel)
        self.outbox.control(lambda message: message.cancels.append(cancel))

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until every call put so far is on the platform's disk; False: not within that."""
        return self.outbox.wait_acknowledged(self.outbox.last, timeout)

    # ---- what futures ask (`future.Source`)

    def load(self, envelope: bytes) -> Any:
        """The value of an envelope."""
        return self.codec.decode(envelope)

    def error_of(self, status: int, value: bytes) -> BaseException:
        """The exception of a result that is not OK."""
        return exception_from_call_error(status, call_pb2.CallError.FromString(value))

    def cancel_call(self, future: CallFuture[Any], grace_s: float | None) -> None:
        """Ask that the call of a future does not begin, or stops."""
        self.cancel(future.address[1], running=True, grace_s=grace_s)

    def let_arrive(self, future: CallFuture[Any]) -> None:
        """Wait until a call is on the platform's disk."""
        if self.usable:
            self.outbox.wait_acknowledged(future.number, self._connection.patience_s)

    def await_result(self, future: CallFuture[Any]) -> None:
        """Results come by themselves; only a forked child's copy of a session gets none."""
        if self.epoch != fork.epoch():
            from gridloom.calls.attach import watch

            watch(self._connection, future)

    @property
    def connection(self) -> Connection:
        """The way to the platform, for what is not said on the stream."""
        return self._connection

    # ---- receiving: the session's own thread

    def _run(self) -> None:
        self.outbox.makers_of_room.add(threading.get_ident())
        trouble: Patience | None = None
        while not self._closing.is_set():
            seen = self._progress()
            refusal, endpoint = self._one_stream(first=seen == (0, 0) and trouble is None)
            self._begun.set()
            if isinstance(refusal.error, StorageFullError):
                self._refuse_new(refusal.error)
            if self._closing.is_set() or self._is_done:
                return
            if trouble is None or self._progress() != seen:
                trouble = Patience(self._connection.patience_s)
            pause_s = trouble.next_pause_s(refusal.hint_s)
            if pause_s is None or not _worth_another_try(refusal):
                self._fail(_advised(refusal.error))
                return
            self._closing.wait(min(pause_s, _LONGEST_PAUSE_S))
            self._look_up_again(endpoint)

    def _refuse_new(self, error: BaseException) -> None:
        """What the platform has not accepted ends with this error; the rest is still waited for."""
        self.usable, self._refuses = False, True
        for sink in self.outbox.refuse_unacknowledged(error):
            sink.fail(error)

    @property
    def _is_done(self) -> bool:
        """It takes nothing new, and everything that was accepted has its result."""
        return self._refuses and not self.outbox.pending

    def _was_refused(self) -> None:
        """A queue may be made since, or a pool anew: the next call says its specification again."""
        with self._numbers_lock:
            self._spec_numbers.clear()
            self.refusals += 1

    def _progress(self) -> tuple[int, int]:
        return self.outbox.acknowledged, self._inbox.results

    def _one_stream(self, *, first: bool) -> tuple[Refusal, Endpoint | None]:
        """One stream from its hello to its end: why it ended, and who was at its other end."""
        endpoint = None
        try:
            endpoint = self._connection.endpoint()
            if endpoint.pipes:
                method: Callable[..., Any] = partial(_pipe, endpoint.pipes)
            else:
                route = self._connection.route()
                endpoint, method = route.endpoint, route.stub("functions").OpenSession
            self._converse(method, endpoint, first=first)
        except grpc.RpcError as error:
            assert endpoint is not None
            return refusal_of(error, endpoint.address), endpoint
        except GridloomError as error:
            return Refusal(error, is_transient=isinstance(error, UnavailableError)), endpoint
        except ValueError as error:  # the channel was closed since: for a fork
            return Refusal(UnavailableError(str(error)), is_transient=True), None
        except RuntimeError as error:  # no thread can be started: the interpreter ends
            return Refusal(UnavailableError(str(error)), is_transient=False), endpoint
        ended = UnavailableError("the platform ended the session's stream")
        return Refusal(ended, is_transient=True), endpoint

    def _converse(self, method: Callable[..., Any], endpoint: Endpoint, *, first: bool) -> None:
        hello = session_pb2.Hello(session_key=self._key, project=self._project)
        requests = Requests(self.outbox, hello, is_first=first)
        stream = method(requests, metadata=endpoint.metadata)
        self._requests, self._stream = requests, stream
        self._begun.set()
        if self._closing.is_set():
            requests.finish()
        try:
            for response in stream:
                if response.HasField("welcome"):
                    self._welcomed(response.welcome, requests)
                for digest in response.missing_functions:
                    self._send_function(digest)
                for estimate in response.estimates:
                    self.estimates[estimate.spec] = estimate.item_us / 1e6
                self._inbox.take(response)
                if self._is_done:
                    requests.finish()
        finally:
            requests.close()
            stream.cancel()

    def _welcomed(self, welcome: session_pb2.Welcome, requests: Requests) -> None:
        self.codec.inline_limit_bytes = welcome.inline_limit_bytes or self.codec.inline_limit_bytes
        self.codec.payload_limit_bytes = (
            welcome.payload_limit_bytes or self.codec.payload_limit_bytes
        )
        self.outbox.set_window(calls=welcome.window_calls, size_bytes=welcome.window_bytes)
        self.outbox.acknowledge(welcome.acknowledged)
        requests.welcomed()

    def _send_function(self, digest: bytes) -> None:
        function = self.outbox.spoken.functions.get(digest)
        if function is not None:
            self.outbox.control(lambda message: message.functions.append(function))

    def _look_up_again(self, endpoint: Endpoint | None) -> None:
        if endpoint is None or self._closing.is_set():
            return
        try:
            # A platform that was stopped on purpose is started only for calls that none has yet.
            is_new = self.usable and self.outbox.last > self.outbox.acknowledged
            self._connection.renew(endpoint, may_start=is_new)
        except GridloomError as error:
            _log.debug("the platform is not there yet: %s", error)

    def _fail(self, error: BaseException) -> None:
        """The platform will not answer any more: everybody who waits is told."""
        self.usable = False
        self.outbox.close(error)
        for number in list(self.outbox.pending):
            sink = self.outbox.pending.pop(number, None)
            if sink is not None:
                sink.fail(error)

    # ---- the end

    def close(self, timeout: float = FLUSH_AT_EXIT_S) -> None:
        """Send what was put, then end the stream. What was submitted goes on without it."""
        if not self.usable:
            return
        self.flush(timeout)
        self.usable = False
        self._closing.set()
        if self._requests is not None:
            self._requests.finish()
        self._thread.join(_LAST_WORD_S)
        if self._stream is not None:
            self._stream.cancel()
        self._thread.join(_LAST_WORD_S)
        self._fail(UnavailableError("the client was closed; client.get(id) of a new one goes on"))


# How long a new session waits for its first stream to begin.
_FIRST_STREAM_S = 1.0
_LONGEST_PAUSE_S = 0.2
# How long a closing session waits for the service to end the stream by itself.
_LAST_WORD_S = 1.0


def _pipe(path: str, requests: Requests, *, metadata: Metadata) -> Pipe[OpenSessionResponse]:
    """Open a stream on this machine, as gRPC's stub does it."""
    return Pipe(path, _METHOD, requests, metadata, session_pb2.OpenSessionResponse.FromString)


def _seal(number: int) -> session_pb2.GroupSeal:
    return session_pb2.GroupSeal(number=number)


def _worth_another_try(refusal: Refusal) -> bool:
    """What no service said on purpose may pass: a proxy's or a dying server's word.

    A full disk has room again some time: what was accepted goes on then.
    """
    return (
        refusal.is_transient
        or isinstance(refusal.error, StorageFullError)
        or (isinstance(refusal.error, InternalError) and not refusal.error.details)
    )


def _advised(error: GridloomError) -> GridloomError:
    if not isinstance(error, UnavailableError | StorageFullError):
        return error
    return type(error)(
        f"{error.message}; calls that were accepted go on: when the platform is back, "
        f"client.get(id) reads their results",
        **error.details,
    )


_sessions: weakref.WeakSet[Session] = weakref.WeakSet()


def _flush_all() -> None:
    """What a program submitted before it ended is accepted, also where it waited for nothing."""
    for session in list(_sessions):
        # What failed before has told whoever waits for it.
        if session.epoch == fork.epoch() and session.usable:
            session.close()
            if lost := session.outbox.last - session.outbox.acknowledged:
                _log.error("%s of this program's last calls did not reach the platform", lost)


atexit.register(_flush_all)


def _leave_to_parent() -> None:
    for session in list(_sessions):
        session.usable = False


fork.after_in_child(_leave_to_parent)
