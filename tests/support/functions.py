"""A functions service in the test's own loop; a raw client; workers played at the socket's edge."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import struct
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Self

import grpc
from gridloom.api.functions.v1 import (
    call_pb2,
    functions_pb2_grpc,
    pool_pb2,
    session_pb2,
    worker_pb2,
)
from gridloom.version import PROTOCOL
from gridloom_services.common.app import PlatformContext
from gridloom_services.common.audit import AuditTrail
from gridloom_services.common.auth import (
    AuthenticatorChain,
    StaticTokenAuthenticator,
    administrator,
)
from gridloom_services.common.channels import ServiceChannels
from gridloom_services.common.interceptors.chain import CallRules
from gridloom_services.common.keyring import KeyRing
from gridloom_services.common.keys import KeyHasher
from gridloom_services.common.metrics import NO_METRICS
from gridloom_services.common.remote_keys import RemoteKeys
from gridloom_services.common.server import PlatformServer
from gridloom_services.common.stop import Stop
from gridloom_services.common.tokens import GangTokens
from gridloom_services.functions.app import FunctionsApp
from gridloom_services.functions.holds import MemoryObjects
from gridloom_services.functions.pools.jobs import JobNews, MemoryPoolJobs
from gridloom_services.functions.settings import FunctionsSettings
from gridloom_services.functions.store.sql import SqlCallStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gridloom_services.functions.store.base import CallStore

TOKEN = "user-token"
SECRET = b"s" * 32
OK, ERROR = call_pb2.CALL_STATUS_OK, call_pb2.CALL_STATUS_ERROR
_LENGTH = struct.Struct(">I")


class Service:
    """The whole service over a store, with the scheduler and `objects` played by their twins."""

    def __init__(self, home: Path, store: CallStore | None = None, **settings: Any) -> None:
        self.home = home
        self.store = store or SqlCallStore(f"sqlite:///{home / 'functions.db'}")
        self.settings = FunctionsSettings(**settings)
        self.jobs = MemoryPoolJobs()
        self.objects = MemoryObjects()
        self.tokens = GangTokens(SECRET)
        self.app: FunctionsApp
        self.address = ""
        self._server: PlatformServer

    async def start(self) -> Self:
        user = administrator("tester")
        chain = AuthenticatorChain([StaticTokenAuthenticator(TOKEN, user), self.tokens])
        self._server = PlatformServer(CallRules(chain, NO_METRICS))
        self._server.bind("127.0.0.1", 0)
        self.address = self._server.address
        self._channels = ServiceChannels(TOKEN, {})
        self._context = PlatformContext(
            home=self.home,
            address=self.address,
            channels=self._channels,
            gang_tokens=self.tokens,
            keys=KeyRing(KeyHasher(SECRET), RemoteKeys(self._channels)),
            audit=AuditTrail(self.home / "audit.jsonl"),
            stop=Stop(),
        )
        self.app = FunctionsApp(
            self._context, self.settings, self.store, self.jobs, self.objects, surroundings={}
        )
        self._server.add(self.app)
        await self._server.start()
        return self

    async def stop(self) -> None:
        await self._server.stop(Stop(), 2.0)
        await self._context.audit.close()
        await self._channels.close()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def pool_job(self, index: int = -1) -> tuple[str, str]:
        """Pool and job of the last pool that was started."""
        job_id = list(self.jobs.jobs)[index]
        return self.jobs.jobs[job_id].job.pool_id, job_id

    def runs(self, job_id: str) -> None:
        self.jobs.tell(JobNews(job_id, running=True))

    async def until(self, condition: Callable[[], Any], seconds: float = 10.0) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, "it never became true"
            await asyncio.sleep(0.002)
        return found


class Client:
    """A session's stream, message by message."""

    def __init__(self, address: str, key: bytes = b"k" * 16, token: str = TOKEN) -> None:
        self.key = key
        self._channel = grpc.aio.insecure_channel(address)
        self.stub = functions_pb2_grpc.FunctionsServiceStub(self._channel)
        self.metadata = (("authorization", f"Bearer {token}"),)
        self.call: Any = None
        self.welcome = session_pb2.Welcome()
        self.acknowledged = 0
        self.results: dict[tuple[int, int], tuple[int, bytes]] = {}
        self.times: dict[tuple[int, int], int] = defaultdict(int)
        self.result_number = 0
        self.outputs: list[call_pb2.Output] = []
        self.missing: list[bytes] = []
        self._reader: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    async def connect(
        self, *, confirmed: int = 0, protocol: int = PROTOCOL, python: str = "", project: str = ""
    ) -> Client:
        self.call = self.stub.OpenSession(metadata=self.metadata)
        hello = session_pb2.Hello(
            session_key=self.key,
            protocol=protocol,
            confirmed=confirmed,
            python=python,
            project=project,
        )
        first: Any = grpc.aio.EOF
        with contextlib.suppress(grpc.aio.AioRpcError):
            await self.call.write(session_pb2.OpenSessionRequest(hello=hello))
            first = await self.call.read()
        if first is grpc.aio.EOF:
            raise AssertionError(await self.call.details())
        self.welcome = first.welcome
        self._reader = asyncio.create_task(self._read())
        return self

    async def _read(self) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError):
            while (message := await self.call.read()) is not grpc.aio.EOF:
                self._take(message)
                self._changed.set()

    def _take(self, message: session_pb2.OpenSessionResponse) -> None:
        self.acknowledged = max(self.acknowledged, message.acknowledged)
        self.result_number = max(self.result_number, message.result_number)
        self.outputs += message.outputs
        self.missing += message.missing_functions
        for run in message.results:
            self._take_run(run)

    def _take_run(self, run: call_pb2.ResultRun) -> None:
        for index, (status, value) in enumerate(zip(run.statuses, run.values, strict=True)):
            if run.ranges:
                part = run.ranges[index]
                places = [(run.first_sequence, part.first + n) for n in range(part.count)]
            else:
                places = [(run.first_sequence + index, 0)]
            for place in places:
                self.results[place] = (status, value)
                self.times[place] += 1

    async def send(self, **parts: Any) -> None:
        await self.call.write(session_pb2.OpenSessionRequest(**parts))

    async def define(self, code: bytes = b"echo", spec: int = 1, **options: Any) -> None:
        digest = hashlib.sha256(code).digest()
        name = code.decode(errors="replace")[:20]
        function = session_pb2.FunctionDefinition(digest=digest, name=name, code=code)
        message = session_pb2.CallSpec(number=spec, function_digest=digest, **options)
        await self.send(functions=[function], specs=[message])

    async def submit(self, first: int, arguments: list[bytes], spec: int = 1, **extra: Any) -> None:
        frame = session_pb2.Frame(first_sequence=first, spec=spec, arguments=arguments, **extra)
        await self.send(frames=[frame])

    async def until(self, condition: Callable[[], Any], seconds: float = 10.0) -> Any:
        async with asyncio.timeout(seconds):
            while not (found := condition()):
                self._changed.clear()
                waiting = asyncio.create_task(self._changed.wait())
                await asyncio.wait({waiting}, timeout=0.05)
                waiting.cancel()
        return found

    async def all_results(self, count: int, seconds: float = 10.0) -> None:
        await self.until(lambda: len(self.results) >= count, seconds)

    def statuses(self) -> dict[int, int]:
        return {sequence: status for (sequence, _), (status, _) in sorted(self.results.items())}

    def error(self, sequence: int, item: int = 0) -> call_pb2.CallError:
        return call_pb2.CallError.FromString(self.results[sequence, item][1])

    async def confirm(self) -> None:
        await self.send(confirmed=self.result_number)

    async def drop(self) -> None:
        """Cut the stream, as a lost network does."""
        self.call.cancel()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)

    async def close(self) -> None:
        if self.call is not None:
            await self.drop()
        await self._channel.close()


def run_code(code: bytes, argument: bytes, inputs: list[list[bytes]]) -> tuple[int, bytes]:
    """What the played functions do with an argument."""
    if code == b"fail" or argument == b"fail":
        error = call_pb2.CallError(type="builtins.ValueError", message="no")
        return ERROR, error.SerializeToString()
    if code == b"join":
        return OK, b"+".join(b"".join(parts) for parts in inputs)
    return OK, b"<" + argument + b">"


class FakeWorker:
    """A worker at the edge: it speaks frames on the real socket and runs no Python of users."""

    def __init__(self, service: Service, pool_id: str, job_id: str, name: str = "w1") -> None:
        self.service = service
        self.id = name
        self._token = service.tokens.issue(job_id, 1, "default")
        self._pool_id = pool_id
        self.slots = 1
        self.kind = worker_pb2.WorkerHello.KIND_WORKER
        self.host_id = "host"
        self.python = ""
        self.batches: list[worker_pb2.Batch] = []
        self.cancels: list[worker_pb2.UnitCancel] = []
        self.drains = 0
        self.runs: list[tuple[int, int]] = []
        self.codes: dict[bytes, bytes] = {}
        self.welcome: worker_pb2.WorkerWelcome | None = None
        self.is_automatic = True
        self.delay_s = 0.0
        self._task: asyncio.Task[None] | None = None

    async def start(self, *, attempt: int = 1, protocol: int = PROTOCOL) -> FakeWorker:
        path = str(self.service.app.socket.path)
        self._reader, self._writer = await asyncio.open_unix_connection(path)
        hello = worker_pb2.WorkerHello(
            protocol=protocol,
            token=self._token,
            pool_id=self._pool_id,
            kind=self.kind,
            worker_id=self.id,
            host_id=self.host_id,
            slots=self.slots,
            python=self.python,
        )
        del attempt
        self.send(worker_pb2.WorkerFrame(hello=hello))
        self._task = asyncio.create_task(self._serve())
        return self

    def send(self, frame: worker_pb2.WorkerFrame) -> None:
        body = frame.SerializeToString()
        self._writer.write(_LENGTH.pack(len(body)) + body)

    async def _serve(self) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                (length,) = _LENGTH.unpack(await self._reader.readexactly(4))
                body = await self._reader.readexactly(length)
                await self._take(worker_pb2.ServiceFrame.FromString(body))

    async def _take(self, frame: worker_pb2.ServiceFrame) -> None:
        kind = frame.WhichOneof("body")
        if kind == "welcome":
            self.welcome = frame.welcome
        elif kind == "cancel":
            self.cancels.append(frame.cancel)
        elif kind == "drain":
            self.drains += 1
        elif kind == "batch":
            self.batches.append(frame.batch)
            for function in frame.batch.functions:
                self.codes[function.digest] = function.code
            if self.is_automatic:
                await asyncio.sleep(self.delay_s)
                self.finish(frame.batch)

    def finish(self, batch: worker_pb2.Batch, epoch: int | None = None) -> None:
        """Answer for a whole batch."""
        results = worker_pb2.Results(
            epoch=batch.epoch if epoch is None else epoch, batch=batch.number, last=True
        )
        unit = 0
        for run in batch.runs:
            inputs = {each.position: [list(i.parts) for i in each.inputs] for each in run.inputs}
            code = self.codes[run.function_digest]
            for position, argument in enumerate(run.arguments):
                status, value = run_code(code, argument, inputs.get(position, []))
                answer = results.runs.add(first_unit=unit, statuses=bytes([status]), values=[value])
                if run.ranges:
                    answer.ranges.append(run.ranges[position])
                self.runs.append((run.sequences[position], run.attempt))
                unit += 1
        results.elapsed_us = 10 * unit
        self.send(worker_pb2.WorkerFrame(results=results))

    def answer(
        self, batch: worker_pb2.Batch, unit: int, status: int, value: bytes, *, last: bool = False
    ) -> None:
        results = worker_pb2.Results(epoch=batch.epoch, batch=batch.number, last=last)
        results.runs.add(first_unit=unit, statuses=bytes([status]), values=[value])
        self.send(worker_pb2.WorkerFrame(results=results))

    async def die(self) -> None:
        """The connection ends, as when the process is gone."""
        self._writer.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


def pool_options(**fields: Any) -> dict[str, Any]:
    return {"pool": pool_pb2.PoolSpec(**fields)}
