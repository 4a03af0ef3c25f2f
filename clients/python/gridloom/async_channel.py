"""The way to the platform for an event loop: drives the same operations as `gridloom.channel`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from gridloom.channel import Route
from gridloom.operation import Blocking, Call
from gridloom.patience import Patience
from gridloom.rpc_errors import Refusal, broken_off, refusal_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gridloom.channel import Connection
    from gridloom.endpoint import Endpoint
    from gridloom.operation import Effect, Following, Operation

T = TypeVar("T")


class AsyncConnection:
    """A platform, as one event loop reaches it. Looking it up and moving files use threads.

    It shares address and patience with the synchronous connection under it.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._route: Route | None = None

    async def close(self) -> None:
        """End the channel and whatever runs on it."""
        if self._route is not None:
            await self._route.channel.close()
        self._route = None
        await asyncio.to_thread(self.connection.close)

    async def run(self, operation: Operation[T]) -> T:
        """Drive an operation to its result."""
        try:
            effect = next(operation)
            while True:
                try:
                    answer = await self._done(effect)
                except Exception as error:  # noqa: BLE001  # the operation may know better
                    effect = operation.throw(error)
                else:
                    effect = operation.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    async def _done(self, effect: Effect) -> object:
        if isinstance(effect, Call):
            return await self.call(effect)
        if isinstance(effect, Blocking):
            return await asyncio.to_thread(effect.work, self.connection)
        stream = self.follow(effect.following, timeout_s=effect.timeout_s)
        return [item async for item in stream]

    async def call(self, call: Call) -> Any:
        """One answer to one request."""
        limit_s = self.connection.patience_s if call.timeout_s is None else call.timeout_s
        patience = Patience(limit_s)
        while True:
            route = await self._current_route()
            try:
                return await self._begun(route, call, patience.remaining_s)
            except grpc.RpcError as error:
                refusal = refusal_of(error, route.endpoint.address)
                await self._wait_or_raise(refusal, route.endpoint, patience)

    async def follow(
        self, following: Following[T], *, timeout_s: float | None = None
    ) -> AsyncIterator[T]:
        """What the stream brings, taken up again where it breaks off.

        A `TimeoutError` after `timeout_s`, however much came until then.
        """
        limit, patience = Patience(timeout_s), Patience(self.connection.patience_s)
        while not following.over:
            route = await self._current_route()
            patience.stream_begins()
            try:
                async for item in self._stretch(route, following, limit, patience):
                    yield item
                refusal = Refusal(broken_off(route.endpoint.address), is_transient=True)
            except grpc.RpcError as error:
                refusal = refusal_of(error, route.endpoint.address)
                if refusal.is_deadline and timeout_s is not None:
                    raise TimeoutError(f"not over after {timeout_s:g} s") from None
            if not following.over:
                patience.stream_ended(was_told=not refusal.is_silence)
                await self._wait_or_raise(refusal, route.endpoint, patience, may_start=False)

    async def _stretch(
        self, route: Route, following: Following[T], limit: Patience, patience: Patience
    ) -> AsyncIterator[T]:
        """One stream, until it ends or breaks off or enough was read."""
        stream = self._begun(route, following.call(), limit.remaining_s)
        try:
            async for answer in stream:
                patience.renewed()
                for item in following.feed(answer):
                    yield item
                if following.over:
                    return
            for item in following.finish():
                yield item
        finally:
            stream.cancel()

    async def _current_route(self) -> Route:
        endpoint = await asyncio.to_thread(self.connection.endpoint)
        if self._route is None or self._route.endpoint != endpoint:
            self._route = Route(endpoint, open_channel(endpoint))
        return self._route

    @staticmethod
    def _begun(route: Route, call: Call, timeout_s: float | None) -> Any:
        method = getattr(route.stub(call.service), call.method)
        return method(call.request, timeout=timeout_s, metadata=route.endpoint.metadata)

    async def _wait_or_raise(
        self, refusal: Refusal, endpoint: Endpoint, patience: Patience, *, may_start: bool = True
    ) -> None:
        pause_s = patience.next_pause_s(refusal.hint_s) if refusal.is_transient else None
        if pause_s is None:
            raise refusal.error from None
        if refusal.is_silence:
            look = self.connection.look_again
            await asyncio.to_thread(look, endpoint, may_start=may_start)
        await asyncio.sleep(pause_s)


def open_channel(endpoint: Endpoint) -> grpc.aio.Channel:
    """A channel of the running event loop to a platform."""
    if not endpoint.tls:
        return grpc.aio.insecure_channel(endpoint.target, options=endpoint.options)
    credentials = grpc.ssl_channel_credentials(endpoint.root_certificates())
    return grpc.aio.secure_channel(endpoint.address, credentials, options=endpoint.options)
