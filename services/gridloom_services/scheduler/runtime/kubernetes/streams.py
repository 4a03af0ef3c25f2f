"""Streams both ways into containers: commands beside a replica, and pieces of a live stream."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING

import aiohttp

from gridloom_services.scheduler.runtime.base import ExecChunk, LogChunk, LogStream
from gridloom_services.scheduler.runtime.kubernetes.api import ApiError
from gridloom_services.scheduler.runtime.kubernetes.containers import SIDECAR

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from gridloom_services.scheduler.runtime.kubernetes.api import KubernetesApi

# The fifth version of the protocol can say that the standard input is over.
_PROTOCOL = "v5.channel.k8s.io"
_STDIN, _STDOUT, _STDERR, _ERROR, _CLOSE = 0, 1, 2, 3, 255
_STREAMS = {_STDOUT: LogStream.STDOUT, _STDERR: LogStream.STDERR}
_FAILED = 1


async def run_in(
    api: KubernetesApi,
    pod: str,
    container: str,
    command: tuple[str, ...],
    stdin: AsyncIterator[bytes] | None = None,
) -> AsyncGenerator[ExecChunk, None]:
    """Run a command in a container; `pod` is its path. What it prints, then its exit code.

    ApiError where it cannot be run.
    """
    query = [("container", container), ("stdout", "true"), ("stderr", "true")]
    query += [("stdin", "true")] if stdin is not None else []
    query += [("command", word) for word in command]
    async with api.websocket(f"{pod}/exec", query, _PROTOCOL) as socket:
        feeding = None if stdin is None else asyncio.create_task(_feed(socket, stdin))
        try:
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.BINARY:
                    continue
                channel, data = message.data[0], message.data[1:]
                if channel in _STREAMS and data:
                    yield ExecChunk(_STREAMS[channel], data)
                elif channel == _ERROR:
                    yield ExecChunk(exit_code=exit_code_of(data))
                    return
            raise ApiError(0, "Broken", "the stream into the pod broke off")
        finally:
            if feeding is not None:
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)


async def _feed(socket: aiohttp.ClientWebSocketResponse, stdin: AsyncIterator[bytes]) -> None:
    with contextlib.suppress(ConnectionError):  # it does not read any more
        async for data in stdin:
            await socket.send_bytes(bytes([_STDIN]) + data)
        await socket.send_bytes(bytes([_CLOSE, _STDIN]))


def exit_code_of(data: bytes) -> int:
    """Return the exit code that the last message of a stream means. ApiError: it never ran."""
    status = json.loads(data)
    if status.get("status") == "Success":
        return 0
    for cause in status.get("details", {}).get("causes", []):
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise ApiError(0, status.get("reason", ""), status.get("message", "the command did not run"))


async def live_piece(
    api: KubernetesApi, pod: str, stream: LogStream, offset: int, limit: int, wait_s: float
) -> LogChunk:
    """Read a piece of a stream whose command runs, by its sidecar. ApiError."""
    program = ("python3", "-m", "gridloom.worker.pod.tail")
    words = (stream.value, str(offset), str(limit), f"{wait_s:g}")
    said = bytearray()
    async for chunk in run_in(api, pod, SIDECAR, program + words):
        if chunk.stream is LogStream.STDOUT:
            said += chunk.data
        if chunk.exit_code:
            raise ApiError(0, "Broken", f"the sidecar could not read: exit code {chunk.exit_code}")
    header, _, data = bytes(said).partition(b"\n")
    place = json.loads(header)
    return LogChunk(data, place["offset"], place["next_offset"], complete=False)
