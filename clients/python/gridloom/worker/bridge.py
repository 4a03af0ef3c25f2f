"""The way to a service on another machine: workers speak to a local socket, this to gRPC.

gRPC has threads and does not like forks; a worker has neither, and its users may fork. So one
process beside the host carries the frames of all of them: for each connection to its socket it
opens a `ServeCalls` stream and hands everything on, both ways, as it comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import struct
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any

from gridloom.worker.frames import SERVER_OPTIONS
from gridloom.worker.supervision import processes

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

    from gridloom.endpoint import Endpoint

_LENGTH = struct.Struct(">I")
_BACKLOG = 1024
_RESTART_PAUSE_S = 1.0


class Bridge:
    """The process, started again when it has died. The socket stays: nobody has to look for it."""

    def __init__(self, path: Path, endpoint: Endpoint) -> None:
        self._listener = _listen(path)
        self._endpoint = endpoint
        self._next_start = 0.0
        self.pid = 0

    def tend(self) -> None:
        """See to it that it runs, without haste where it dies again and again."""
        if self.pid and processes.start_time(self.pid) is not None:
            return
        now = time.monotonic()
        if now >= self._next_start:
            self._next_start = now + _RESTART_PAUSE_S
            self.pid = _fork_bridge(self._listener, self._endpoint)

    def release(self) -> None:
        """In a forked worker: close the copy of the socket."""
        self._listener.close()


def _listen(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The path may be longer than a kernel takes: its folder is named short.
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
    path.chmod(0o600)
    listener.listen(_BACKLOG)
    return listener


def _fork_bridge(listener: socket.socket, endpoint: Endpoint) -> int:
    """Start the process; its pid. It ends with this one."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        processes.die_with_parent()
        processes.name_process("gl-bridge")
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        if os.getppid() == parent:
            # Measured: without these a round trip takes half as long again.
            os.environ["GRPC_EXPERIMENTS"] = "-event_engine_client,-event_engine_listener"
            asyncio.run(_serve(listener, endpoint))
    except BaseException:  # noqa: BLE001
        # Nothing above this sees it: the host only starts the next one.
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(1)


async def _serve(listener: socket.socket, endpoint: Endpoint) -> None:
    import grpc

    from gridloom.api.functions.v1 import functions_pb2_grpc

    channel = _channel(grpc, endpoint)
    stub = functions_pb2_grpc.FunctionsServiceStub(channel)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = stub.ServeCalls(metadata=endpoint.metadata)
        try:
            await _first_done(_upward(reader, stream), _downward(stream, writer))
        except (grpc.RpcError, asyncio.InvalidStateError, asyncio.IncompleteReadError, OSError):
            pass  # the other side learns of it by the end of its own connection
        finally:
            stream.cancel()
            writer.close()

    server = await asyncio.start_unix_server(carry, sock=listener, **SERVER_OPTIONS)
    await server.serve_forever()


def _channel(grpc: Any, endpoint: Endpoint) -> Any:
    if not endpoint.tls:
        return grpc.aio.insecure_channel(endpoint.address, options=endpoint.options)
    credentials = grpc.ssl_channel_credentials(endpoint.root_certificates())
    return grpc.aio.secure_channel(endpoint.address, credentials, options=endpoint.options)


async def _first_done(*ways: Awaitable[None]) -> None:
    """Carry both ways until one of them has ended; raises what ended it."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
        with contextlib.suppress(BaseException):
            await task
    for task in done:
        task.result()


async def _upward(reader: asyncio.StreamReader, stream: Any) -> None:
    from gridloom.api.functions.v1 import functions_pb2, worker_pb2

    while True:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        frame = worker_pb2.WorkerFrame.FromString(await reader.readexactly(length))
        await stream.write(functions_pb2.ServeCallsRequest(frame=frame))


async def _downward(stream: Any, writer: asyncio.StreamWriter) -> None:
    async for answer in stream:
        body = answer.frame.SerializeToString()
        writer.write(_LENGTH.pack(len(body)) + body)
        await writer.drain()
