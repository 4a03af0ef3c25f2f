"""A stream of calls by a unix socket, as gRPC's synchronous stubs give it.

One thread of its own sends; whoever iterates receives. Nothing of gRPC runs, so a fork meanwhile
does no harm: the child's copy of the socket is closed, the parent's stream goes on.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import weakref
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import grpc

from gridloom import pipe_frames
from gridloom.calls import fork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from google.protobuf.message import Message

Answer = TypeVar("Answer")

_CONNECT_PATIENCE_S = 5.0
_READ_BYTES = 256 * 1024
# The service has the say about sizes.
_LONGEST_FRAME = (1 << 32) - 1
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class PipeError(grpc.RpcError):
    """How a stream ended that did not end well."""

    def __init__(
        self, code: grpc.StatusCode, details: str, trailing_metadata: pipe_frames.Metadata = ()
    ) -> None:
        super().__init__(details)
        self._said = code, details, trailing_metadata

    def code(self) -> grpc.StatusCode:
        """Its status."""
        return self._said[0]

    def details(self) -> str:
        """The sentence."""
        return self._said[1]

    def trailing_metadata(self) -> Any:
        """What else the service said."""
        return self._said[2]


class Pipe(Generic[Answer]):
    """One stream: an iterator of the answers to `requests`, which a thread of its own sends."""

    def __init__(
        self,
        path: str,
        method: str,
        requests: Iterable[Message],
        metadata: Iterable[tuple[str, str | bytes]],
        read: Callable[[bytes], Answer],
    ) -> None:
        """`read` makes an answer of its bytes. A `PipeError` where nobody listens at `path`."""
        self._read = read
        self._frames = pipe_frames.Frames(_LONGEST_FRAME)
        self._answers: Iterator[tuple[int, bytes]] = iter(())
        self._ended = False
        # Held while a frame is sent: no other begins within it.
        self._sending = threading.Lock()
        self._socket = _connected(path)
        # Closed when neither who sends nor who receives is there any more: not sooner, since the
        # kernel may give the descriptor to somebody else meanwhile.
        weakref.finalize(self, self._socket.close).atexit = False
        _open.add(self)
        head = pipe_frames.head(method, metadata)
        sender = threading.Thread(
            target=self._send, args=(head, requests), name="gridloom-pipe", daemon=True
        )
        sender.start()

    def _send(self, head: bytes, requests: Iterable[Message]) -> None:
        try:
            self._send_frame(head)
            for request in requests:
                body = request.SerializeToString()
                self._send_frame(pipe_frames.frame(pipe_frames.MESSAGE, body))
            self._send_frame(pipe_frames.frame(pipe_frames.END))
        except OSError:
            pass  # whoever receives is told
        except BaseException:
            self.cancel()
            raise

    def _send_frame(self, data: bytes) -> None:
        with self._sending:
            self._socket.sendall(data)

    def _answer_ping(self) -> None:
        """Who is sending something just now is there too."""
        if self._sending.acquire(blocking=False):
            try:
                with contextlib.suppress(OSError):
                    self._socket.sendall(pipe_frames.frame(pipe_frames.PONG))
            finally:
                self._sending.release()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Answer:
        """The next answer; a `PipeError` where the stream ends otherwise than well."""
        while True:
            for kind, body in self._answers:
                if kind == pipe_frames.MESSAGE:
                    return self._read(body)
                if kind == pipe_frames.TAIL:
                    self._end(body)
                elif kind == pipe_frames.PING:
                    self._answer_ping()
            self._answers = iter(self._received())

    def _received(self) -> list[tuple[int, bytes]]:
        if self._ended:
            raise StopIteration
        try:
            data = self._socket.recv(_READ_BYTES)
            if not data:
                raise ConnectionResetError("Socket closed")
            return self._frames.feed(data)
        except (OSError, pipe_frames.OutOfStepError) as error:
            self.cancel()
            raise PipeError(grpc.StatusCode.UNAVAILABLE, str(error)) from None

    def _end(self, body: bytes) -> None:
        self._ended = True
        self.cancel()
        code, details, metadata = pipe_frames.read_tail(body)
        if code != 0:
            raise PipeError(_CODES.get(code, grpc.StatusCode.UNKNOWN), details, metadata)

    def cancel(self) -> None:
        """End it at once; whoever sends or receives is woken."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def leave(self) -> None:
        """In a forked child: close the copy, which the other side does not notice."""
        self._socket.close()


def _connected(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_CONNECT_PATIENCE_S)
        connection.connect(path)
        connection.settimeout(None)
    except OSError as error:
        connection.close()
        raise PipeError(grpc.StatusCode.UNAVAILABLE, error.strerror or str(error)) from None
    return connection


_open: weakref.WeakSet[Pipe[Any]] = weakref.WeakSet()


def _leave_to_parent() -> None:
    for pipe in list(_open):
        pipe.leave()


fork.after_in_child(_leave_to_parent)
