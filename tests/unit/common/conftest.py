"""A server with one method of each kind, under the interceptors of every server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from gridloom_services.common.auth import (
    AuthenticatorChain,
    Principal,
    StaticTokenAuthenticator,
    administrator,
    current_principal,
)
from gridloom_services.common.interceptors.chain import CallRules
from gridloom_services.common.metrics import NO_METRICS
from gridloom_services.common.server import PlatformServer
from gridloom_services.common.stop import Stop
from gridloom_services.common.tokens import GangTokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gridloom_services.common.auth import Authenticator
    from gridloom_services.common.metrics import Metrics

SERVICE = "test.v1.EchoService"
TOKEN = "the-token"
GANG_TOKENS = GangTokens(b"s" * 32)


class EchoApp:
    """Answers what it is sent; `behave` may raise or wait instead."""

    name = "echo"
    grpc_services = (SERVICE,)
    gang_methods = frozenset({f"/{SERVICE}/Unary"})

    def __init__(self, behave: Callable[[bytes], Any] | None = None) -> None:
        self._behave = behave
        self.callers: list[Principal] = []
        self.life: list[str] = []
        self.idle = True
        self.streams_end = asyncio.Event()

    def add_to(self, server: grpc.aio.Server) -> None:
        handlers = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "ServerStream": grpc.unary_stream_rpc_method_handler(self.server_stream),
            "ClientStream": grpc.stream_unary_rpc_method_handler(self.client_stream),
            "BidiStream": grpc.stream_stream_rpc_method_handler(self.bidi_stream),
            "WritingStream": grpc.stream_stream_rpc_method_handler(self.writing_stream),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    async def start(self) -> None:
        self.life.append("start")

    async def drain(self) -> None:
        self.life.append("drain")
        self.streams_end.set()

    async def stop(self) -> None:
        self.life.append("stop")

    def is_idle(self) -> bool:
        return self.idle

    async def answer(self, request: bytes) -> bytes:
        self.callers.append(current_principal())
        if self._behave is not None:
            found = self._behave(request)
            if asyncio.iscoroutine(found):
                await found
        return b"echo " + request

    async def unary(self, request: bytes, _: Any) -> bytes:
        return await self.answer(request)

    async def server_stream(self, request: bytes, _: Any) -> AsyncIterator[bytes]:
        yield await self.answer(request)
        yield await self.answer(request)

    async def client_stream(self, requests: AsyncIterator[bytes], _: Any) -> bytes:
        return await self.answer(b"".join([request async for request in requests]))

    async def bidi_stream(self, requests: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield await self.answer(request)

    async def writing_stream(self, requests: AsyncIterator[bytes], context: Any) -> None:
        """The other way to write a streaming method."""
        async for request in requests:
            await context.write(await self.answer(request))


class EchoClient:
    """Calls the four kinds of methods."""

    def __init__(self, channel: grpc.aio.Channel, token: str = TOKEN, **metadata: str) -> None:
        self._channel = channel
        own = (("authorization", f"Bearer {token}"),) if token else ()
        self._metadata = (*own, *metadata.items())

    def with_token(self, token: str, **metadata: str) -> EchoClient:
        return EchoClient(self._channel, token, **metadata)

    def unary(self, request: bytes = b"a", timeout: float | None = None) -> Any:
        call = self._channel.unary_unary(f"/{SERVICE}/Unary")
        return call(request, metadata=self._metadata, timeout=timeout)

    def stream(self, kind: str, *requests: bytes) -> Any:
        call = self._channel.stream_stream(f"/{SERVICE}/{kind}")
        return call(iter(requests), metadata=self._metadata)

    async def all_of(self, kind: str, *requests: bytes) -> list[bytes]:
        """What a call of this kind answers."""
        path = f"/{SERVICE}/{kind}"
        if kind == "Unary":
            return [await self.unary(*requests)]
        if kind == "ServerStream":
            stream = self._channel.unary_stream(path)(*requests, metadata=self._metadata)
            return [response async for response in stream]
        if kind == "ClientStream":
            call = self._channel.stream_unary(path)
            return [await call(iter(requests), metadata=self._metadata)]
        return [response async for response in self.stream(kind, *requests)]

    async def refusal_of(self, kind: str) -> None:
        """A call that is refused before it has sent anything.

        A stream of requests that is refused while it is written confuses the asyncio client.
        """
        path = f"/{SERVICE}/{kind}"
        if kind in {"Unary", "ServerStream"}:
            await self.all_of(kind, b"a")
        elif kind == "ClientStream":
            await self._channel.stream_unary(path)(metadata=self._metadata)
        else:
            await self._channel.stream_stream(path)(metadata=self._metadata).read()


def serving_chain() -> AuthenticatorChain:
    """Ada's token, and the gangs'."""
    return AuthenticatorChain([StaticTokenAuthenticator(TOKEN, administrator("ada")), GANG_TOKENS])


KINDS = ("Unary", "ServerStream", "ClientStream", "BidiStream", "WritingStream")


@asynccontextmanager
async def serving(
    app: EchoApp,
    metrics: Metrics = NO_METRICS,
    authenticator: Authenticator | None = None,
    default_deadline_s: float = 60.0,
) -> AsyncIterator[tuple[PlatformServer, EchoClient]]:
    """A server with this app on it, and a client."""
    rules = CallRules(authenticator or serving_chain(), metrics, default_deadline_s)
    server = PlatformServer(rules)
    server.bind("127.0.0.1", 0)
    server.add(app)
    await server.start()
    stop = Stop()
    try:
        async with grpc.aio.insecure_channel(server.address) as channel:
            yield server, EchoClient(channel)
    finally:
        await server.stop(stop, grace_s=1)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of method in turn."""
    return str(request.param)
