"""Both transports of workers, under one suite: real sockets, a real gRPC server."""

import asyncio
import contextlib
import stat
import struct

import grpc
import pytest
import uvloop
from gridloom.api.functions.v1 import functions_pb2, functions_pb2_grpc, worker_pb2
from gridloom.version import PROTOCOL
from gridloom.worker import frames
from gridloom_services.common.auth import Principal
from gridloom_services.common.errors import ConflictError, UnauthenticatedError
from gridloom_services.functions.workers.link import Reception
from gridloom_services.functions.workers.sockets import SocketServer
from gridloom_services.functions.workers.streams import serve_stream

GANG = Principal("ada", "gang", "default", "job_1", 1)


class Crew:
    """Notes what it is told."""

    def __init__(self):
        self.events = asyncio.Queue()
        self.refusal = None

    def admits(self, hello):
        if self.refusal is not None:
            raise self.refusal

    def joined(self, link):
        self.events.put_nowait(("joined", link))

    def received(self, link, frame):
        self.events.put_nowait(("received", frame.WhichOneof("body")))

    def left(self, link):
        self.events.put_nowait(("left", link.worker_id))


def verify(token):
    if token == "user":
        return Principal("ada")
    if token != "good":
        raise UnauthenticatedError("the token is not this platform's")
    return GANG


def hello(token="good", protocol=PROTOCOL):
    return worker_pb2.WorkerFrame(
        hello=worker_pb2.WorkerHello(
            protocol=protocol, token=token, pool_id="pool_1", worker_id="w1", kind=1, slots=1
        )
    )


class SocketPeer:
    """A worker at the unix socket."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def send(self, frame):
        body = frame.SerializeToString()
        self.writer.write(struct.pack(">I", len(body)) + body)

    async def receive(self):
        """The next frame; None at the end."""
        try:
            (length,) = struct.unpack(">I", await self.reader.readexactly(4))
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return None
        return worker_pb2.ServiceFrame.FromString(await self.reader.readexactly(length))

    async def close(self):
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


class StreamPeer:
    """A worker at the gRPC stream."""

    def __init__(self, channel):
        self._channel = channel
        self._out = asyncio.Queue()
        self._call = functions_pb2_grpc.FunctionsServiceStub(channel).ServeCalls(self._requests())
        self._responses = aiter(self._call)

    async def _requests(self):
        while (frame := await self._out.get()) is not None:
            yield functions_pb2.ServeCallsRequest(frame=frame)

    def send(self, frame):
        self._out.put_nowait(frame)

    async def receive(self):
        try:
            return (await anext(self._responses)).frame
        except (StopAsyncIteration, grpc.aio.AioRpcError):
            return None

    async def close(self):
        self._out.put_nowait(None)
        self._call.cancel()
        await self._channel.close()


class Servicer(functions_pb2_grpc.FunctionsServiceServicer):
    """Only the stream of workers."""

    def __init__(self, reception):
        self._reception = reception

    async def ServeCalls(self, requests, context):  # noqa: N802
        async for response in serve_stream(self._reception, aiter(requests)):
            yield response


@pytest.fixture
def crew():
    return Crew()


@pytest.fixture
def reception(crew):
    return Reception(crew, verify, lambda: worker_pb2.WorkerWelcome(epoch=7))


@pytest.fixture(params=["socket", "stream"])
async def connect(request, reception, tmp_path):
    """Opens connections to a server of the transport."""
    peers = []
    if request.param == "socket":
        server = SocketServer(reception, tmp_path / "run")
        await server.start()

        async def open_peer():
            peers.append(SocketPeer(*await asyncio.open_unix_connection(str(server.path))))
            return peers[-1]

        end = server.stop
    else:
        grpc_server = grpc.aio.server()
        functions_pb2_grpc.add_FunctionsServiceServicer_to_server(Servicer(reception), grpc_server)
        port = grpc_server.add_insecure_port("127.0.0.1:0")
        await grpc_server.start()

        async def open_peer():
            peers.append(StreamPeer(grpc.aio.insecure_channel(f"127.0.0.1:{port}")))
            return peers[-1]

        async def end():
            await grpc_server.stop(0)

    yield open_peer
    for peer in peers:
        await peer.close()
    await end()


async def next_event(crew):
    async with asyncio.timeout(10):
        return await crew.events.get()


async def test_a_worker_with_the_gangs_token_is_welcomed(connect, crew):
    peer = await connect()
    peer.send(hello())
    assert (await peer.receive()).welcome.epoch == 7
    kind, link = await next_event(crew)
    assert (kind, link.worker_id, link.principal) == ("joined", "w1", GANG)


@pytest.mark.parametrize("token", ["", "bad", "user"])
async def test_nobody_else_is_let_in(connect, crew, token):
    peer = await connect()
    peer.send(hello(token))
    assert await peer.receive() is None
    assert crew.events.empty()


async def test_another_protocol_is_refused(connect, crew):
    peer = await connect()
    peer.send(hello(protocol=PROTOCOL + 1))
    assert await peer.receive() is None
    assert crew.events.empty()


async def test_who_does_not_begin_with_a_hello_is_refused(connect, crew):
    peer = await connect()
    peer.send(worker_pb2.WorkerFrame(results=worker_pb2.Results(batch=1)))
    assert await peer.receive() is None
    assert crew.events.empty()


async def test_a_worker_that_the_pool_does_not_want_is_sent_away(connect, crew):
    crew.refusal = ConflictError("the pool is closed")
    peer = await connect()
    peer.send(hello())
    assert await peer.receive() is None
    assert crew.events.empty()


async def test_frames_arrive_in_order_both_ways(connect, crew):
    peer = await connect()
    peer.send(hello())
    await peer.receive()
    _, link = await next_event(crew)
    peer.send(worker_pb2.WorkerFrame(results=worker_pb2.Results(batch=1)))
    peer.send(worker_pb2.WorkerFrame(output=worker_pb2.WorkerOutput(data=b"x" * 100_000)))
    assert [(await next_event(crew))[1] for _ in range(2)] == ["results", "output"]
    for number in range(1, 4):
        link.send(worker_pb2.ServiceFrame(batch=worker_pb2.Batch(number=number)))
    assert [(await peer.receive()).batch.number for _ in range(3)] == [1, 2, 3]


async def test_the_crew_learns_once_that_a_worker_has_left(connect, crew):
    peer = await connect()
    peer.send(hello())
    await peer.receive()
    await next_event(crew)
    await peer.close()
    assert await next_event(crew) == ("left", "w1")
    assert crew.events.empty()


async def test_a_link_that_is_closed_ends_the_workers_connection(connect, crew):
    peer = await connect()
    peer.send(hello())
    await peer.receive()
    _, link = await next_event(crew)
    link.close()
    assert await peer.receive() is None
    assert await next_event(crew) == ("left", "w1")


async def test_the_socket_is_private_and_gone_at_the_end(reception, tmp_path):
    server = SocketServer(reception, tmp_path / "run")
    await server.start()
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(server.path.parent.stat().st_mode) == 0o700
    await server.stop()
    assert not server.path.exists()


async def test_a_path_longer_than_the_kernel_takes_is_the_same_at_every_start(reception, tmp_path):
    folder = tmp_path / ("x" * 120)
    for _ in range(2):
        server = SocketServer(reception, folder)
        await server.start()
        assert server.path == folder / "functions.sock"
        link = await asyncio.to_thread(frames.connect, str(server.path))
        link.send(hello())
        assert (await asyncio.to_thread(link.receive)).welcome.epoch == 7
        link.close()
        await server.stop()
    assert list(folder.iterdir()) == []


async def test_a_socket_that_a_dead_service_left_is_replaced(reception, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "functions.sock").touch()
    server = SocketServer(reception, folder)
    await server.start()
    await server.stop()


async def test_garbage_ends_a_connection_and_harms_nobody_else(reception, crew, tmp_path):
    server = SocketServer(reception, tmp_path / "run")
    await server.start()
    bad = SocketPeer(*await asyncio.open_unix_connection(str(server.path)))
    bad.writer.write(b"\x00\x00\x00\x04\xff\xff\xff\xff")
    assert await bad.receive() is None
    huge = SocketPeer(*await asyncio.open_unix_connection(str(server.path)))
    huge.writer.write(b"\xff\xff\xff\xff")
    assert await huge.receive() is None
    good = SocketPeer(*await asyncio.open_unix_connection(str(server.path)))
    good.send(hello())
    assert (await good.receive()).welcome.epoch == 7
    for peer in (bad, huge, good):
        await peer.close()
    await server.stop()


def test_the_socket_serves_on_the_loop_of_production(tmp_path):
    async def meet():
        crew = Crew()
        server = SocketServer(
            Reception(crew, verify, lambda: worker_pb2.WorkerWelcome(epoch=7)), tmp_path / "run"
        )
        await server.start()
        peer = SocketPeer(*await asyncio.open_unix_connection(str(server.path)))
        peer.send(hello())
        welcome = await peer.receive()
        await peer.close()
        await server.stop()
        return welcome

    assert uvloop.run(meet()).welcome.epoch == 7
