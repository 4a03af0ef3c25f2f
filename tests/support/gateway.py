"""One address for services that are processes of their own, as an ingress gives them."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Self

import grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)


class Gateway(grpc.GenericRpcHandler):
    """Passes each call on by the area in its name: "/gridloom.api.AREA.v1.Service/Method"."""

    def __init__(self, port: int = 0) -> None:
        self.address = f"127.0.0.1:{port}"
        self._targets: dict[str, str] = {}
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def route(self, area: str, address: str) -> None:
        """Calls of this area go there."""
        self._targets[area] = address

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Every method, as a stream of bytes both ways: that is what all kinds are on the wire."""
        path = handler_call_details.method

        async def forward(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            async for response in self._forwarded(path, requests, context):
                yield response

        return grpc.stream_stream_rpc_method_handler(forward)

    async def _forwarded(
        self, path: str, requests: AsyncIterator[bytes], context: Any
    ) -> AsyncIterator[bytes]:
        call = self._channel(path).stream_stream(path)(
            requests,
            metadata=[pair for pair in context.invocation_metadata() if not _is_transports(pair)],
            timeout=context.time_remaining(),
        )
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as error:
            await context.abort(
                error.code(), error.details() or "", tuple(error.trailing_metadata())
            )
        finally:
            call.cancel()

    def _channel(self, path: str) -> grpc.aio.Channel:
        address = self._targets[path.split(".")[2]]
        if address not in self._channels:
            self._channels[address] = grpc.aio.insecure_channel(address, options=_OPTIONS)
        return self._channels[address]

    async def _start(self) -> None:
        self._server = grpc.aio.server(handlers=[self], options=_OPTIONS)
        self.address = f"127.0.0.1:{self._server.add_insecure_port(self.address)}"
        await self._server.start()

    async def _stop(self) -> None:
        await self._server.stop(None)
        for channel in self._channels.values():
            await channel.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _is_transports(pair: tuple[str, str | bytes]) -> bool:
    return pair[0].startswith(("grpc-", ":")) or pair[0] in {"user-agent", "te", "content-type"}
