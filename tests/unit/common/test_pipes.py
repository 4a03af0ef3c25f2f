"""Streams without gRPC: both ends of them, and what a handler and its client know of it."""

from __future__ import annotations

import asyncio
import os
import queue
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from gridloom import pipe_frames
from gridloom.api.functions.v1 import session_pb2
from gridloom.pipe import Pipe, PipeError
from gridloom_services.common.errors import ConflictError
from gridloom_services.common.interceptors.base import CallInterceptor
from gridloom_services.common.interceptors.errors import ErrorInterceptor
from gridloom_services.common.pipes import PipeDoor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from gridloom_services.common.interceptors.base import Method

Request = session_pb2.OpenSessionRequest
Answer = session_pb2.OpenSessionResponse

ECHO, REFUSE, LISTEN = "/test.Pipes/Echo", "/test.Pipes/Refuse", "/test.Pipes/Listen"
LONGEST = 8 << 20
MANY = 400


class Witness(CallInterceptor):
    """Notes what passes it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, Any]]] = []

    @asynccontextmanager
    async def around(self, method: Method, context: Any) -> AsyncIterator[None]:
        self.seen.append((method.name, dict(context.invocation_metadata())))
        yield


class Service:
    """Methods that read and write their stream by the context."""

    def __init__(self) -> None:
        self.begun, self.over = asyncio.Event(), asyncio.Event()

    async def echo(self, _: object, context: Any) -> None:
        while (request := await context.read()) is not grpc.aio.EOF:
            values = [value for frame in request.frames for value in frame.arguments]
            await context.write(Answer(acknowledged=request.confirmed, missing_functions=values))

    async def refuse(self, _: object, context: Any) -> None:
        await context.read()
        raise ConflictError("not twice", given="2")

    async def listen(self, _: object, context: Any) -> None:
        self.begun.set()
        try:
            await context.read()
        finally:
            self.over.set()

    async def count(self, _: object, __: Any) -> AsyncIterator[Answer]:
        yield Answer()

    def handler(self) -> grpc.GenericRpcHandler:
        behaviours = {
            "Echo": self.echo,
            "Refuse": self.refuse,
            "Listen": self.listen,
            "Count": self.count,
        }
        methods = {
            name: grpc.stream_stream_rpc_method_handler(
                each, Request.FromString, Answer.SerializeToString
            )
            for name, each in behaviours.items()
        }
        return grpc.method_handlers_generic_handler("test.Pipes", methods)


class Until:
    """What a queue brings, until it brings None."""

    def __init__(self, source: queue.SimpleQueue[Request | None]) -> None:
        self._source = source

    def __iter__(self) -> Iterator[Request]:
        while (request := self._source.get()) is not None:
            yield request


class Place:
    """A door with the service behind it."""

    def __init__(self, path: str, door: PipeDoor, service: Service, witness: Witness) -> None:
        self.path, self.door, self.service, self.witness = path, door, service, witness

    def open(
        self, method: str, requests: Iterable[Request] = (), **metadata: str | bytes
    ) -> Pipe[Answer]:
        return Pipe(self.path, method, requests, tuple(metadata.items()), Answer.FromString)

    async def answers(self, method: str, *numbers: int, **metadata: str | bytes) -> list[int]:
        def read() -> list[int]:
            requests = [Request(confirmed=number) for number in numbers]
            return [answer.acknowledged for answer in self.open(method, requests, **metadata)]

        return await asyncio.to_thread(read)


@asynccontextmanager
async def place(folder: Any, **options: Any) -> AsyncIterator[Place]:
    service, witness = Service(), Witness()
    door = PipeDoor([ErrorInterceptor(), witness], LONGEST, **options)
    door.add_generic_rpc_handlers([service.handler()])
    door.bind(folder / "pipes.sock")
    await door.start()
    try:
        async with asyncio.timeout(60):
            yield Place(str(folder / "pipes.sock"), door, service, witness)
    finally:
        await door.stop()


async def test_requests_are_answered_in_order_until_the_client_says_that_it_has_no_more(tmp_path):
    async with place(tmp_path) as here:
        assert await here.answers(ECHO, *range(1, 200)) == list(range(1, 200))


async def test_a_call_passes_the_interceptors_with_its_metadata(tmp_path):
    async with place(tmp_path) as here:
        await here.answers(ECHO, 1, authorization="Bearer me", **{"token-bin": b"\x00\xff"})
        expected = {"authorization": "Bearer me", "token-bin": b"\x00\xff"}
        assert here.witness.seen == [("Echo", expected)]


async def test_what_a_handler_raises_is_the_clients_status_with_its_details(tmp_path):
    async with place(tmp_path) as here:
        with pytest.raises(PipeError) as raised:
            await here.answers(REFUSE, 1)
    error = raised.value
    assert (error.code(), error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "not twice")
    ((name, value),) = error.trailing_metadata()
    assert name == "grpc-status-details-bin"
    assert b"CONFLICT" in value


@pytest.mark.parametrize("method", ["/test.Pipes/Nothing", "/nobody/Echo", "/test.Pipes/Count"])
async def test_what_is_not_served_here_is_unimplemented(tmp_path, method):
    async with place(tmp_path) as here:
        with pytest.raises(PipeError) as raised:
            await here.answers(method, 1)
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_message_that_is_too_long_ends_the_stream(tmp_path):
    async with place(tmp_path) as here:

        def read() -> None:
            arguments = [b"x" * (LONGEST + 1)]
            next(here.open(ECHO, [Request(frames=[session_pb2.Frame(arguments=arguments)])]))

        with pytest.raises(PipeError):
            await asyncio.to_thread(read)
        assert await here.answers(ECHO, 7) == [7]


async def test_a_client_that_goes_has_its_call_cancelled(tmp_path):
    async with place(tmp_path) as here:
        pipe = await asyncio.to_thread(here.open, LISTEN, Until(queue.SimpleQueue()))
        await here.service.begun.wait()
        pipe.cancel()
        await here.service.over.wait()
        with pytest.raises(PipeError) as raised:
            await asyncio.to_thread(next, pipe)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_door_that_closes_ends_what_is_open_and_leaves_no_file(tmp_path):
    async with place(tmp_path) as here:
        pipe = await asyncio.to_thread(here.open, LISTEN, Until(queue.SimpleQueue()))
        await here.service.begun.wait()
        await here.door.stop()
        assert here.service.over.is_set()
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(PipeError) as raised:
            await asyncio.to_thread(next, pipe)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(PipeError, match="No such file"):
            await here.answers(ECHO, 1)


async def test_who_does_not_read_answers_is_waited_for(tmp_path):
    async with place(tmp_path) as here:
        sent = 0

        def requests() -> Iterable[Request]:
            nonlocal sent
            value = [session_pb2.Frame(arguments=[b"x" * 65536])]
            for number in range(1, MANY + 1):
                sent = number
                yield Request(confirmed=number, frames=value)

        pipe = await asyncio.to_thread(here.open, ECHO, requests())
        before = -1
        while before != sent or not sent:
            before = sent
            await asyncio.sleep(0.3)
        assert sent < MANY

        def read() -> int:
            return sum(1 for _ in pipe)

        assert await asyncio.to_thread(read) == MANY


async def test_a_client_that_is_frozen_is_let_go_and_one_that_only_waits_is_not(tmp_path):
    async with place(tmp_path, silence_s=0.05) as here:
        more: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        waiting = asyncio.create_task(
            asyncio.to_thread(lambda: [each.acknowledged for each in here.open(ECHO, Until(more))])
        )
        with socket.socket(socket.AF_UNIX) as frozen:
            frozen.connect(here.path)
            frozen.sendall(pipe_frames.head(LISTEN, ()))
            await here.service.over.wait()
        more.put(Request(confirmed=5))
        more.put(None)
        assert await waiting == [5]


async def test_a_socket_that_a_dead_process_left_is_replaced_and_is_this_users_alone(tmp_path):
    path = tmp_path / "pipes.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with place(tmp_path) as here:
        assert path.stat().st_mode & 0o777 == 0o600
        assert await here.answers(ECHO, 1) == [1]


FORKING = """
import os, sys, threading
from gridloom.api.functions.v1 import session_pb2
from gridloom.pipe import Pipe
begun = threading.Event()
def requests():  # asked for when the stream's beginning has been sent
    begun.set()
    threading.Event().wait()
    yield
pipe = Pipe(sys.argv[1], sys.argv[2], requests(), (), bytes)
begun.wait()
child = os.fork()
if child:
    os.write(1, f"{child}".encode())
    os._exit(0)
os.close(1)
os.read(int(sys.argv[3]), 1)
"""


async def test_a_stream_ends_with_its_process_though_a_forked_child_lives_on(tmp_path):
    ours, childs = socket.socketpair()
    with ours, childs:
        async with place(tmp_path) as here:
            number = childs.fileno()
            client = await asyncio.create_subprocess_exec(
                *(sys.executable, "-W", "ignore", "-c", FORKING, here.path, LISTEN, str(number)),
                pass_fds=[number],
                stdout=subprocess.PIPE,
            )
            said, _ = await asyncio.gather(client.stdout.read(), client.wait())
            await here.service.begun.wait()
            await here.service.over.wait()
            os.kill(int(said), 0)  # the child is there


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"\xff", b'{"method": 1}', b'{"method": "m", "metadata": [1]}']
)
def test_a_head_that_is_none_is_out_of_step(body):
    with pytest.raises(pipe_frames.OutOfStepError):
        pipe_frames.read_head(body)


def test_frames_are_put_together_from_any_pieces():
    whole = pipe_frames.frame(pipe_frames.MESSAGE, b"abc") + pipe_frames.frame(pipe_frames.END)
    for size in range(1, len(whole) + 1):
        frames = pipe_frames.Frames(100)
        pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
        found = [each for piece in pieces for each in frames.feed(piece)]
        assert found == [(pipe_frames.MESSAGE, b"abc"), (pipe_frames.END, b"")]
