"""Streams of calls from programs on this machine, by a unix socket without gRPC.

`gridloom/pipe_frames.py` says what travels. A stream is served by the same handler, behind the same
interceptors, as one that comes by gRPC: only its context is another. It is for methods that read
and write their stream by the context; others are refused as unimplemented.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import os
import socket
from collections import deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import grpc
from gridloom import pipe_frames
from gridloom.worker.frames import SERVER_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    Handler = grpc.RpcMethodHandler[Any, Any]
    Find = Callable[["Call"], Coroutine[Any, Any, Handler | None]]

_BACKLOG = 512
# A client that says nothing for so long is asked, and gone when it is silent for as long again.
_SILENCE_S = 20.0
# Requests that are here and that nobody has read yet: the client waits beyond that.
_MOST_UNREAD_BYTES = 4 << 20
# Answers that the client has not taken yet: who writes waits beyond that.
_MOST_UNSENT_BYTES = 1 << 20

_log = logging.getLogger(__name__)


class Call(NamedTuple):
    """What gRPC calls `HandlerCallDetails`."""

    method: str
    invocation_metadata: pipe_frames.Metadata


class PipeContext:
    """What a handler and the interceptors use of a `ServicerContext`."""

    def __init__(self, pipe: Pipe, call: Call, handler: Handler) -> None:
        self._pipe = pipe
        self._call = call
        self._read: Any = handler.request_deserializer
        self._write: Any = handler.response_serializer
        self._status: tuple[grpc.StatusCode, str, pipe_frames.Metadata] | None = None

    async def read(self) -> object:
        """The next request, or `grpc.aio.EOF`."""
        body = await self._pipe.next_request()
        return grpc.aio.EOF if body is None else self._read(body)

    async def write(self, message: object) -> None:
        """Send an answer; waits while the client takes none."""
        self._pipe.send(pipe_frames.frame(pipe_frames.MESSAGE, self._write(message)))
        await self._pipe.has_room()

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()
    ) -> None:
        """End it with this status. Always raises."""
        self._status = code, details, tuple(trailing_metadata)
        raise grpc.aio.AbortError(details)

    def invocation_metadata(self) -> pipe_frames.Metadata:
        """What the client said beside its requests."""
        return self._call.invocation_metadata

    def code(self) -> grpc.StatusCode | None:
        """The status that was set; None: it has not failed."""
        return self._status[0] if self._status else None

    @staticmethod
    def time_remaining() -> None:
        """There is no deadline."""

    @staticmethod
    def peer() -> str:
        """As gRPC names one at a unix socket."""
        return "unix:"

    def tail(self) -> bytes:
        """The frame that ends it."""
        code, details, metadata = self._status or (grpc.StatusCode.OK, "", ())
        return pipe_frames.tail(code.value[0], details, metadata)


class Pipe(asyncio.Protocol):
    """One connection, which carries one stream."""

    def __init__(self, door: PipeDoor) -> None:
        self._door = door
        self._transport: asyncio.Transport
        self._frames = pipe_frames.Frames(door.longest_message)
        self._task: asyncio.Task[None] | None = None
        self._requests: deque[bytes] = deque()
        self._unread_bytes = 0
        self._is_paused = False
        self._was_heard = True
        self._was_asked = False
        self._has_ended = False
        self._reader: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._room.set()

    # ---- as the loop sees it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client speaks first."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        self._transport.set_write_buffer_limits(high=_MOST_UNSENT_BYTES)
        self._door.pipes.add(self)

    def data_received(self, data: bytes) -> None:
        """Keep what is whole for who reads; what is out of step ends the connection."""
        self._was_heard = True
        try:
            for kind, body in self._frames.feed(data):
                self._take(kind, body)
        except pipe_frames.OutOfStepError as error:
            _log.warning("a stream has ended: %s", error)
            self._refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
            return
        if self._unread_bytes > _MOST_UNREAD_BYTES and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def _take(self, kind: int, body: bytes) -> None:
        if kind == pipe_frames.HEAD and self._task is None:
            call = Call(*pipe_frames.read_head(body))
            self._task = asyncio.get_running_loop().create_task(self._serve(call))
            return
        if kind == pipe_frames.MESSAGE:
            self._requests.append(body)
            self._unread_bytes += len(body)
        elif kind == pipe_frames.PONG:
            return
        elif kind == pipe_frames.END:
            self._has_ended = True
        self._wake()

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)

    def eof_received(self) -> bool:
        """A client that has more to read says END; one that says nothing more is gone."""
        return False

    def pause_writing(self) -> None:
        """The client takes nothing at present."""
        self._room.clear()

    def resume_writing(self) -> None:
        """It does again."""
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: as with gRPC, the call is cancelled."""
        del exc
        self._door.pipes.discard(self)
        self._room.set()
        if self._task is not None:
            self._task.cancel()

    # ---- as the call sees it

    async def next_request(self) -> bytes | None:
        """The next request; None: there are no more."""
        while not self._requests:
            if self._has_ended:
                return None
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        body = self._requests.popleft()
        self._unread_bytes -= len(body)
        if self._is_paused and self._unread_bytes <= _MOST_UNREAD_BYTES // 2:
            self._is_paused = False
            self._transport.resume_reading()
        return body

    def send(self, data: bytes) -> None:
        """Hand it to the transport, which keeps what the client has not taken."""
        if not self._transport.is_closing():
            self._transport.write(data)

    async def has_room(self) -> None:
        """Return when the client has taken enough."""
        if not self._room.is_set():
            await self._room.wait()

    async def _serve(self, call: Call) -> None:
        handler = await self._door.handler(call)
        behaviour: Any = handler.stream_stream if handler is not None else None
        if handler is None or behaviour is None or inspect.isasyncgenfunction(behaviour):
            self._refuse(grpc.StatusCode.UNIMPLEMENTED, f"{call.method} is not served here")
            return
        context = PipeContext(self, call, handler)
        try:
            with contextlib.suppress(grpc.aio.AbortError):
                await behaviour(None, context)
            self.send(context.tail())
        finally:  # without a tail where it was cancelled: nothing was said on purpose
            self._transport.close()

    def _refuse(self, code: grpc.StatusCode, details: str) -> None:
        self.send(pipe_frames.tail(code.value[0], details, ()))
        self._transport.close()

    def look_after(self) -> None:
        """Ask a client that was silent since the last time; let go of one that was asked then."""
        if self._was_heard or self._is_paused:  # of what it says we take nothing ourselves
            self._was_heard = self._was_asked = False
        elif self._was_asked:
            _log.info("a client that does not answer is let go")
            self._transport.abort()
        else:
            self._was_asked = True
            self.send(pipe_frames.frame(pipe_frames.PING))

    def end(self) -> asyncio.Task[None] | None:
        """Cancel the call, if it is going on; returns what is to be waited for."""
        if self._task is None:
            self._transport.close()
        else:
            self._task.cancel()
        return self._task


class PipeDoor:
    """Listens for streams, and knows what serves them."""

    def __init__(
        self,
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        longest_message: int,
        *,
        silence_s: float = _SILENCE_S,
    ) -> None:
        """Of clients that say nothing for `silence_s` it is asked whether they are there."""
        self._silence_s = silence_s
        self._watch: asyncio.Task[None] | None = None
        self.longest_message = longest_message
        self.pipes: set[Pipe] = set()
        self.path = ""
        self._handlers: list[grpc.GenericRpcHandler] = []
        find: Find = self._found
        for each in reversed(interceptors):
            find = partial(cast("Any", each).intercept_service, find)
        self._find = find
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """What a gRPC server is given, too."""
        self._handlers.extend(handlers)

    def handler(self, call: Call) -> Awaitable[Handler | None]:
        """What serves a call, within the interceptors."""
        return self._find(call)

    async def _found(self, call: Call) -> Handler | None:
        for each in self._handlers:
            found = each.service(cast("grpc.HandlerCallDetails", call))
            if found is not None:
                return found
        return None

    def bind(self, path: Path) -> None:
        """Take a path, for this user only; a dead process's socket there is replaced.

        Nothing is there afterwards where it cannot be.
        """
        if len(os.fsencode(path)) > pipe_frames.LONGEST_PATH:
            return
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            path.unlink(missing_ok=True)
            listening.bind(str(path))
            path.chmod(0o600)
        except OSError as error:
            _log.info("no socket at %s: %s", path, error)
            listening.close()
            return
        self._socket, self.path = listening, str(path)

    async def start(self) -> None:
        """Let clients in."""
        if self._socket is not None:
            self._server = await asyncio.get_running_loop().create_unix_server(
                lambda: Pipe(self), sock=self._socket, backlog=_BACKLOG, **SERVER_OPTIONS
            )
            self._watch = asyncio.get_running_loop().create_task(self._look_after_pipes())

    async def _look_after_pipes(self) -> None:
        while True:
            await asyncio.sleep(self._silence_s)
            for pipe in list(self.pipes):
                pipe.look_after()

    async def stop(self) -> None:
        """Let nobody in, end what is open, and leave no file."""
        if self._watch is not None:
            self._watch.cancel()
        if self._server is not None:
            self._server.close()
        elif self._socket is not None:
            self._socket.close()
        ending = [task for pipe in list(self.pipes) if (task := pipe.end()) is not None]
        await asyncio.gather(*ending, return_exceptions=True)
        if self.path:
            _forget(self.path)


def _forget(path: str) -> None:
    Path(path).unlink(missing_ok=True)
