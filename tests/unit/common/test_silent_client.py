"""Clients that neither speak nor say goodbye."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

import grpc
import pytest
from gridloom_services.common.app import Limits
from gridloom_services.common.server import server_options

CLIENT = """
import sys, time, grpc

def requests():
    yield b"hello"
    time.sleep(600)

with grpc.insecure_channel(sys.argv[1]) as channel:
    list(channel.stream_stream("/test.Silence/Listen")(requests()))
"""


class Listener:
    """A stream that is open as long as its client is there."""

    def __init__(self) -> None:
        self.begun, self.over = asyncio.Event(), asyncio.Event()

    async def listen(self, _: object, context: grpc.aio.ServicerContext) -> None:
        try:
            while await context.read() is not grpc.aio.EOF:
                self.begun.set()
        finally:
            self.over.set()

    def handler(self) -> grpc.GenericRpcHandler:
        method = grpc.stream_stream_rpc_method_handler(self.listen)
        return grpc.method_handlers_generic_handler("test.Silence", {"Listen": method})


@pytest.mark.slow
async def test_a_client_that_is_frozen_is_let_go_and_one_that_only_waits_is_not():
    listener = Listener()
    server = grpc.aio.server(options=server_options(Limits(), silence_ms=1000))
    server.add_generic_rpc_handlers((listener.handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    command = [sys.executable, "-c", CLIENT, f"127.0.0.1:{port}"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as client:  # noqa: ASYNC220
        try:
            async with asyncio.timeout(60):
                await listener.begun.wait()
                await asyncio.sleep(2.5)
                assert not listener.over.is_set()
                client.send_signal(signal.SIGSTOP)
                await listener.over.wait()
                assert client.poll() is None
        finally:
            client.kill()
    await server.stop(None)
