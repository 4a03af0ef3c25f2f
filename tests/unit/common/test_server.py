"""The life of a server: ready last, stopped in two stages."""

from __future__ import annotations

import asyncio
import socket

import grpc
import pytest
from gridloom_services.common.auth import StaticTokenAuthenticator, administrator
from gridloom_services.common.errors import PortInUseError, StartError
from gridloom_services.common.interceptors.chain import CallRules
from gridloom_services.common.metrics import NO_METRICS
from gridloom_services.common.server import PlatformServer
from gridloom_services.common.stop import Stop
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.support.eventually import eventually
from tests.unit.common.conftest import SERVICE, TOKEN, EchoApp, EchoClient, serving

Serving = health_pb2.HealthCheckResponse.ServingStatus


def new_server() -> PlatformServer:
    authenticator = StaticTokenAuthenticator(TOKEN, administrator("ada"))
    return PlatformServer(CallRules(authenticator, NO_METRICS))


async def health_of(server: PlatformServer, service: str = "") -> str:
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
    return str(Serving.Name(answer.status))


class SlowApp(EchoApp):
    """Its start waits to be let."""

    def __init__(self) -> None:
        super().__init__()
        self.may_start = asyncio.Event()

    async def start(self) -> None:
        await self.may_start.wait()
        await super().start()


async def test_a_port_in_use_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=f"port {port} of 127.0.0.1 cannot be used"):
            new_server().bind("127.0.0.1", port)


async def test_the_first_free_port_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = new_server()
        server.bind("127.0.0.1", taken.getsockname()[1], 0)
        assert server.address != f"127.0.0.1:{taken.getsockname()[1]}"


async def test_two_servers_cannot_share_a_port():
    async with serving(EchoApp()) as (server, _):
        with pytest.raises(PortInUseError):
            new_server().bind("127.0.0.1", int(server.address.rpartition(":")[2]))


async def test_it_is_healthy_when_every_app_has_started_and_calls_wait_for_that():
    app = SlowApp()
    server = new_server()
    server.bind("127.0.0.1", 0)
    server.add(app)
    starting = asyncio.ensure_future(server.start())
    async with grpc.aio.insecure_channel(server.address) as channel:
        client = EchoClient(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.unary()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert await health_of(server) == await health_of(server, SERVICE) == "NOT_SERVING"
        app.may_start.set()
        await starting
        assert await health_of(server) == await health_of(server, SERVICE) == "SERVING"
        assert await client.unary() == b"echo a"
        await server.stop(Stop(), grace_s=1)


async def test_health_needs_no_token_and_reflection_does():
    async with serving(EchoApp()) as (server, _):
        assert await health_of(server) == "SERVING"
        async with grpc.aio.insecure_channel(server.address) as channel:
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            request = reflection_pb2.ServerReflectionRequest(list_services="")
            metadata = (("authorization", f"Bearer {TOKEN}"),)
            answer = await stub.ServerReflectionInfo(iter([request]), metadata=metadata).read()
            names = {each.name for each in answer.list_services_response.service}
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.ServerReflectionInfo().read()
    assert {SERVICE, "grpc.health.v1.Health"} <= names
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_call_under_way_is_finished_within_the_grace_and_new_ones_are_refused():
    may_end = asyncio.Event()
    app = EchoApp(lambda _: may_end.wait())
    async with serving(app) as (server, client):
        call = asyncio.ensure_future(client.unary(b"slow"))
        await eventually(lambda: app.callers)
        stopping = asyncio.ensure_future(server.stop(Stop(), grace_s=60))
        await app.streams_end.wait()
        for _ in range(20):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await client.unary(b"new")
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        may_end.set()
        assert await call == b"echo slow"
        await stopping
        assert app.life == ["start", "drain", "stop"]


async def test_a_second_signal_cancels_what_the_first_one_waits_for():
    app = EchoApp(lambda _: asyncio.sleep(60))
    stop = Stop()
    async with serving(app) as (server, client):
        call = asyncio.ensure_future(client.unary(b"slow"))
        await eventually(lambda: app.callers)
        stopping = asyncio.ensure_future(server.stop(stop, grace_s=60))
        await app.streams_end.wait()
        stop.force("second signal")
        await stopping
        with pytest.raises(grpc.aio.AioRpcError):
            await call
    assert app.life[:3] == ["start", "drain", "stop"]


async def test_the_end_of_the_grace_forces_the_stop():
    app = EchoApp(lambda _: asyncio.sleep(60))
    stop = Stop()
    async with serving(app) as (server, client):
        call = asyncio.ensure_future(client.unary(b"slow"))
        await eventually(lambda: app.callers)
        await server.stop(stop, grace_s=0.05)
        with pytest.raises(grpc.aio.AioRpcError):
            await call
    assert stop.is_forced


async def test_an_app_that_fails_to_start_leaves_a_server_that_can_be_stopped():
    class BrokenApp(EchoApp):
        async def start(self) -> None:
            raise StartError("no room")

    app, server = BrokenApp(), new_server()
    server.bind("127.0.0.1", 0)
    server.add(app)
    with pytest.raises(StartError):
        await server.start()
    await server.stop(Stop(), grace_s=1)
    assert app.life == ["stop"]


async def test_an_app_that_cannot_stop_does_not_keep_the_others_from_it(caplog):
    class StuckApp(EchoApp):
        name = "stuck"

        async def stop(self) -> None:
            raise RuntimeError("stuck")

    good = EchoApp()
    server = new_server()
    server.bind("127.0.0.1", 0)
    server.add(good)
    server.add(StuckApp())
    await server.start()
    await server.stop(Stop(), grace_s=1)
    assert good.life == ["start", "drain", "stop"]
    assert "stuck did not stop in good order" in caplog.text


async def test_it_is_idle_when_no_app_has_work_and_nobody_calls():
    app = EchoApp(lambda _: asyncio.sleep(60))
    async with serving(app) as (server, client):
        assert server.is_idle()
        app.idle = False
        assert not server.is_idle()
        app.idle = True
        stream = client.stream("BidiStream", b"a")
        await eventually(lambda: app.callers)
        assert not server.is_idle()
        stream.cancel()
