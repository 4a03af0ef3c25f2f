"""Frames over a stream socket: a length of four bytes, big endian, and a protobuf message.

Blocking and without threads: a worker has nothing else to do while it waits.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gridloom.api.functions.v1 import worker_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

_LENGTH = struct.Struct(">I")
# What asyncio is told of a listening socket. From 3.13 on it looks for the socket's file as the
# server starts, by a path that holds no longer: the folder was named by a descriptor.
SERVER_OPTIONS: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
_READ_BYTES = 256 * 1024
# What a kernel takes as the path of a unix socket.
_LONGEST_PATH = 107
# A greater length is not one of ours: the stream is out of step.
_LARGEST_FRAME = 1 << 30

ServiceFrame = worker_pb2.ServiceFrame
WorkerFrame = worker_pb2.WorkerFrame


class LinkLostError(ConnectionError):
    """The service has gone, or it sent what is no frame."""


class Link(Protocol):
    """A way to the service: what is sent arrives in order, or not at all once it is lost."""

    def send(self, frame: WorkerFrame) -> None:
        """Hand a frame over; `LinkLostError` where nobody takes it."""
        ...

    def receive(self) -> ServiceFrame:
        """Wait for the next frame; `LinkLostError` at the end of the stream."""
        ...

    def arrived(self) -> list[ServiceFrame]:
        """The frames that are here already, without waiting."""
        ...

    def fileno(self) -> int:
        """The socket's descriptor."""
        ...

    def close(self) -> None:
        """Give the socket back."""
        ...


def encode_frame(message: Message) -> bytes:
    """A message with its length in front."""
    body = message.SerializeToString()
    return _LENGTH.pack(len(body)) + body


class FrameBuffer:
    """Puts frames together from the pieces in which they arrive."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        """The next bytes of the stream."""
        self._data += data

    def take(self) -> bytes | None:
        """The body of the next whole frame, if it is here."""
        data = self._data
        if len(data) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(data)
        if length > _LARGEST_FRAME:
            raise LinkLostError(f"a frame of {length:,} bytes was announced")
        end = _LENGTH.size + length
        if len(data) < end:
            return None
        body = bytes(memoryview(data)[_LENGTH.size : end])
        del data[:end]
        return body


class SocketLink:
    """The service at the other end of a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = FrameBuffer()

    def fileno(self) -> int:
        """The socket's descriptor, -1 once it is closed."""
        return self._socket.fileno()

    def set_send_timeout(self, seconds: int) -> None:
        """Take the link for lost where a frame is not taken within this time."""
        limit = struct.pack("ll", seconds, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def send(self, frame: WorkerFrame) -> None:
        """Hand a frame over; `LinkLostError` where nobody takes it."""
        try:
            self._socket.sendall(encode_frame(frame))
        except OSError as error:
            raise LinkLostError(str(error)) from error

    def receive(self) -> ServiceFrame:
        """Wait for the next frame; `LinkLostError` at the end of the stream."""
        while (body := self._buffer.take()) is None:
            self._read(0)
        return ServiceFrame.FromString(body)

    def arrived(self) -> list[ServiceFrame]:
        """The frames that are here already, without waiting; the end of the link after them."""
        lost = None
        try:
            while self._read(socket.MSG_DONTWAIT):
                pass
        except LinkLostError as error:
            lost = error
        frames = []
        while (body := self._buffer.take()) is not None:
            frames.append(ServiceFrame.FromString(body))
        if lost is not None and not frames:
            raise lost
        return frames

    def _read(self, flags: int) -> bool:
        """Whether there was something to read; without MSG_DONTWAIT it waits for it."""
        try:
            data = self._socket.recv(_READ_BYTES, flags)
        except BlockingIOError:
            return False
        except OSError as error:
            raise LinkLostError(str(error)) from error
        if not data:
            raise LinkLostError("the service has closed the connection")
        self._buffer.feed(data)
        return True

    def close(self) -> None:
        """Give the socket back; both sides see the end of the stream."""
        self._socket.close()


def connect(path: str, timeout_s: float = 10.0) -> SocketLink:
    """A link to the unix socket at `path`; OSError where nobody listens there."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout_s)
        _at_short_path(path, sock.connect)
        sock.settimeout(None)
    except BaseException:
        sock.close()
        raise
    return SocketLink(sock)


def _at_short_path(path: str, use: Callable[[str], object]) -> None:
    """Call `use` with the path, or with another one for it that the kernel finds short enough."""
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        use(path)
        return
    place = Path(path)
    if len(os.fsencode(place.name)) > _LONGEST_PATH // 2:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
    folder = os.open(place.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        use(f"/proc/self/fd/{folder}/{place.name}")
    finally:
        os.close(folder)
