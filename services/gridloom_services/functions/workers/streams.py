"""The gRPC stream of workers on other hosts: the same frames as messages of `ServeCalls`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gridloom.api.functions.v1 import functions_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gridloom.api.functions.v1 import worker_pb2

    from gridloom_services.functions.workers.link import Link, Reception

# Frames that wait for a worker that does not read: then it is as good as gone.
_MOST_WAITING = 4096


class StreamCarrier:
    """One stream. Frames are queued for the stream's writer, up to a bound."""

    def __init__(self) -> None:
        self._frames: asyncio.Queue[worker_pb2.ServiceFrame | None] = asyncio.Queue()

    def send(self, frame: worker_pb2.ServiceFrame) -> None:
        """Queue it."""
        if self._frames.qsize() >= _MOST_WAITING:
            self.close()
        else:
            self._frames.put_nowait(frame)

    def close(self) -> None:
        """End the stream after what is queued."""
        self._frames.put_nowait(None)

    async def frames(self) -> AsyncIterator[functions_pb2.ServeCallsResponse]:
        """What is to be written, until the end."""
        while (frame := await self._frames.get()) is not None:
            yield functions_pb2.ServeCallsResponse(frame=frame)


async def serve_stream(
    reception: Reception, requests: AsyncIterator[functions_pb2.ServeCallsRequest]
) -> AsyncIterator[functions_pb2.ServeCallsResponse]:
    """Answer one `ServeCalls`. The reception's refusals are raised before anything is sent."""
    carrier = StreamCarrier()
    first = await anext(requests, None)
    if first is None:
        return
    link = reception.enter(carrier, first.frame)
    reading = asyncio.create_task(_read(reception, link, carrier, requests))
    try:
        async for response in carrier.frames():
            yield response
    finally:
        reading.cancel()
        reception.leave(link)
        await asyncio.gather(reading, return_exceptions=True)


async def _read(
    reception: Reception,
    link: Link,
    carrier: StreamCarrier,
    requests: AsyncIterator[functions_pb2.ServeCallsRequest],
) -> None:
    try:
        async for request in requests:
            reception.take(link, request.frame)
    finally:
        carrier.close()
