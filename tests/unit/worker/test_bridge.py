"""Workers whose service is reached by gRPC."""

from __future__ import annotations

import os
import queue
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from gridloom.api.functions.v1 import functions_pb2, functions_pb2_grpc, worker_pb2

from tests.unit.worker.pool_service import EPOCH, TOKEN, HostProcess, PoolService, eventually


class StreamConnection:
    """What a worker is to the service when it comes by a stream."""

    def __init__(self, hello, context):
        self.hello = hello
        self.outgoing = queue.SimpleQueue()
        self.frames = queue.SimpleQueue()
        self.closed = threading.Event()
        self._context = context

    def send(self, **body):
        self.outgoing.put(worker_pb2.ServiceFrame(**body))

    def take(self, kind, where=lambda _: True):
        while True:
            frame = self.frames.get(timeout=30)
            if frame.HasField(kind) and where(getattr(frame, kind)):
                return getattr(frame, kind)


class StreamService(PoolService, functions_pb2_grpc.FunctionsServiceServicer):
    """The same small service behind gRPC."""

    def __init__(self):
        super().__init__("")
        self.tokens = set()
        self.server = None
        self.port = 0

    def listen(self):
        self.server = grpc.server(ThreadPoolExecutor(32))
        functions_pb2_grpc.add_FunctionsServiceServicer_to_server(self, self.server)
        self.port = self.server.add_insecure_port(f"127.0.0.1:{self.port}")
        self.server.start()

    def stop(self):
        self.server.stop(0).wait()

    def ServeCalls(self, request_iterator, context):  # noqa: N802  # gRPC's name
        self.tokens.add(dict(context.invocation_metadata())["authorization"])
        hello = next(request_iterator).frame.hello
        connection = StreamConnection(hello, context)
        is_host = hello.kind == worker_pb2.WorkerHello.KIND_HOST
        connection.send(welcome=worker_pb2.WorkerWelcome(epoch=EPOCH))
        context.add_callback(lambda: connection.outgoing.put(None))
        threading.Thread(target=_read, args=(request_iterator, connection), daemon=True).start()
        (self.hosts if is_host else self.workers).put(connection)
        while (frame := connection.outgoing.get()) is not None:
            yield functions_pb2.ServeCallsResponse(frame=frame)


def _read(requests, connection):
    try:
        for request in requests:
            connection.frames.put(request.frame)
    except grpc.RpcError:
        pass
    connection.closed.set()


@pytest.fixture
def service():
    service = StreamService()
    service.listen()
    yield service
    service.stop()


@pytest.fixture
def start(tmp_path, service):
    folder = tmp_path / "host"
    folder.mkdir()
    started = []

    def start_host(**options):
        address = f"127.0.0.1:{service.port}"
        started.append(HostProcess(folder, service, GRIDLOOM_ADDRESS=address, **options))
        return started[-1]

    yield start_host
    for host in started:
        host.close()


def double(x):
    return 2 * x


def test_calls_travel_by_grpc(service, start):
    start()
    worker = service.worker()
    assert service.call(worker, double, 21) == 42
    assert service.tokens == {f"Bearer {TOKEN}"}


def test_a_worker_itself_knows_no_grpc(service, start):
    start()
    loaded = service.call(service.worker(), lambda: "grpc" in __import__("sys").modules)
    assert loaded is False


def test_a_death_is_told_by_grpc(service, start):
    start()
    host, worker = service.host(), service.worker()
    worker.send(batch=service.batch(service.calls(os._exit, (5,))))
    assert host.take("died").exit_code == 5
    assert worker.closed.wait(10)
    assert service.call(service.worker(), double, 1) == 2


def test_a_restarted_service_is_found_again(service, start):
    start()
    first = service.worker()
    service.stop()
    service.listen()
    again = service.worker()
    assert again.hello.pid == first.hello.pid
    assert service.call(again, double, 2) == 4


def test_a_dead_bridge_is_built_again(service, start):
    host = start()
    worker = service.worker()
    os.kill(_bridge_of(host), signal.SIGKILL)
    assert worker.closed.wait(10)
    again = service.worker()
    assert again.hello.pid == worker.hello.pid
    assert service.call(again, double, 2) == 4


def test_the_bridge_ends_with_its_host(service, start):
    host = start()
    service.worker()
    bridge = _bridge_of(host)
    host.process.kill()
    eventually(lambda: not Path(f"/proc/{bridge}").exists())


def _bridge_of(host):
    pid = host.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    names = {Path(f"/proc/{child}/comm").read_text().strip(): int(child) for child in children}
    return names["gl-bridge"]
