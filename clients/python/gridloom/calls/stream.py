"""One stream's requests, as gRPC's sending thread pulls them."""

from __future__ import annotations

import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Self

from gridloom.api.functions.v1 import session_pb2
from gridloom.version import PROTOCOL, VERSION

if TYPE_CHECKING:
    from gridloom.calls.outbox import Outbox


class Requests:
    """The messages of one stream: hello, then what an earlier stream left, then what is new.

    A stream that has ended may still have a thread in here that waits for something to say. It
    holds `Outbox.taking` until `close()` wakes it, so that no two streams ever take at once; what
    it took meanwhile is kept as unacknowledged and is said on the next stream.
    """

    def __init__(self, outbox: Outbox, hello: session_pb2.Hello, *, is_first: bool) -> None:
        self._outbox = outbox
        self._hello: session_pb2.Hello | None = hello
        self._is_first = is_first
        self._again: deque[session_pb2.OpenSessionRequest] = deque()
        self._welcomed = threading.Event()
        self._closed = False
        self._finished = False

    def welcomed(self) -> None:
        """The service has said what it has; the rest may be sent again."""
        self._welcomed.set()

    def finish(self) -> None:
        """End the stream once everything that was put is on its way."""
        self._finished = True
        self._outbox.wake()

    def close(self) -> None:
        """The stream has ended: its thread lets go."""
        self._closed = True
        self._welcomed.set()
        self._outbox.wake()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> session_pb2.OpenSessionRequest:
        with self._outbox.taking:
            message = None if self._closed else self._next()
        if message is None or self._closed:
            raise StopIteration
        return message

    def _next(self) -> session_pb2.OpenSessionRequest | None:
        if self._hello is not None:
            return self._greeting()
        if not self._is_first:
            self._welcomed.wait()
            self._again = deque(self._outbox.unacknowledged())
            self._is_first = True
        if self._again:
            return self._again.popleft()
        if self._finished and self._outbox.is_empty:
            return None
        return self._outbox.take()

    def _greeting(self) -> session_pb2.OpenSessionRequest:
        hello, self._hello = self._hello, None
        assert hello is not None
        hello.protocol, hello.client_version, hello.python = PROTOCOL, VERSION, _PYTHON
        hello.confirmed = self._outbox.confirmed_for_good
        return session_pb2.OpenSessionRequest(hello=hello)


_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
