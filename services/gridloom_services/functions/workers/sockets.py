"""The unix socket of the pools on this host: a frame is a length (4 bytes, big endian), a body."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import TYPE_CHECKING, cast

from google.protobuf.message import DecodeError
from gridloom.api.functions.v1 import worker_pb2
from gridloom.worker.frames import SERVER_OPTIONS

from gridloom_services.common.errors import GridloomServiceError

if TYPE_CHECKING:
    from pathlib import Path

    from gridloom_services.functions.workers.link import Link, Reception

_LENGTH = struct.Struct(">I")
_LARGEST_FRAME = 1 << 30
_NAME = "functions.sock"


class SocketCarrier(asyncio.Protocol):
    """One connection. Nothing in it waits: what has come is handled in the pass that it came in."""

    def __init__(self, reception: Reception) -> None:
        self._reception = reception
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._link: Link | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing is sent before the hello."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass

    def data_received(self, data: bytes) -> None:
        """Handle all whole frames; an unreadable one ends the connection."""
        buffer = self._buffer
        buffer += data
        start = 0
        try:
            while len(buffer) - start >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(buffer, start)
                end = start + _LENGTH.size + length
                if length > _LARGEST_FRAME:
                    self.close()
                    return
                if end > len(buffer):
                    break
                self._take(bytes(memoryview(buffer)[start + _LENGTH.size : end]))
                start = end
        except DecodeError:
            self.close()
        del buffer[:start]

    def _take(self, body: bytes) -> None:
        frame = worker_pb2.WorkerFrame.FromString(body)
        if self._link is not None:
            self._reception.take(self._link, frame)
            return
        try:
            self._link = self._reception.enter(self, frame)
        except GridloomServiceError as error:
            self._reception.note_refusal(error, "the unix socket")
            self.close()

    def send(self, frame: worker_pb2.ServiceFrame) -> None:
        """The transport keeps what the worker has not read yet."""
        if self._transport is not None and not self._transport.is_closing():
            body = frame.SerializeToString()
            self._transport.write(_LENGTH.pack(len(body)) + body)

    def close(self) -> None:
        """End it after what was sent."""
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side is gone."""
        del exc
        self._transport = None
        if self._link is not None:
            self._reception.leave(self._link)


class SocketServer:
    """Listens in a folder that nobody else may enter.

    The path stays the same from start to start: hosts that outlived a platform come back to it.
    """

    def __init__(self, reception: Reception, folder: Path) -> None:
        self._reception = reception
        self._folder = folder
        self._server: asyncio.Server | None = None
        self.path = folder / _NAME

    async def start(self) -> None:
        """Listen; a socket that a dead process left there is replaced."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(
            lambda: SocketCarrier(self._reception),
            sock=_bound(self.path),
            backlog=512,
            **SERVER_OPTIONS,
        )
        self.path.chmod(0o600)

    async def stop(self) -> None:
        """Listen no more, end what is open, and leave no file."""
        if self._server is None:
            return
        self._server.close()
        self._reception.close()
        await asyncio.sleep(0)
        self._server = None
        self.path.unlink(missing_ok=True)


def _bound(path: Path) -> socket.socket:
    """A socket at the path, which may be longer than a kernel takes: its folder is named short."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock.bind(f"/proc/self/fd/{folder}/{path.name}")
    except BaseException:
        sock.close()
        raise
    finally:
        os.close(folder)
    return sock
