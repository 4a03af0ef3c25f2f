"""Commands beside a running replica."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

from gridloom_services.scheduler.runtime.base import ExecChunk, LogStream
from gridloom_services.scheduler.runtime.launcher import bare_python

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping
    from pathlib import Path

_READ_BYTES = 65536
# Chunks that may wait for a slow reader; then the command waits too.
_AHEAD = 16


async def run_beside(
    folder: Path,
    command: tuple[str, ...],
    stdin: AsyncIterator[bytes],
    environment: Mapping[str, str],
) -> AsyncGenerator[ExecChunk, None]:
    """Run a command in the environment of a unit; what it prints, and then its exit code.

    Closing the iterator ends the command, and so does the end of this process.
    """
    process = await asyncio.create_subprocess_exec(
        *bare_python("gridloom.worker.supervision.beside", str(folder), *command),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    assert process.stdout
    assert process.stderr
    queue: asyncio.Queue[ExecChunk | None] = asyncio.Queue(_AHEAD)
    pumps = [
        asyncio.create_task(_pump(process.stdout, LogStream.STDOUT, queue)),
        asyncio.create_task(_pump(process.stderr, LogStream.STDERR, queue)),
    ]
    feeding = asyncio.create_task(_feed(process, stdin))
    try:
        for _ in pumps:
            while (chunk := await queue.get()) is not None:
                yield chunk
        yield ExecChunk(exit_code=await process.wait())
    finally:
        await _end(process, [feeding, *pumps])


async def _pump(
    reader: asyncio.StreamReader, stream: LogStream, queue: asyncio.Queue[ExecChunk | None]
) -> None:
    while data := await reader.read(_READ_BYTES):
        await queue.put(ExecChunk(stream, data))
    await queue.put(None)


async def _feed(process: asyncio.subprocess.Process, stdin: AsyncIterator[bytes]) -> None:
    assert process.stdin
    with contextlib.suppress(ConnectionError):  # it does not read any more
        async for data in stdin:
            process.stdin.write(data)
            await process.stdin.drain()
    process.stdin.close()


async def _end(process: asyncio.subprocess.Process, tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        await process.wait()
