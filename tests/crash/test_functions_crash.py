"""The functions service and its workers are killed at random; no call is lost or told twice.

Each execution returns something that no other execution returns. So two results for one call, or a
result that changes after it was told, cannot hide. A failing seed is repeated by its number:
`GRIDLOOM_CRASH_SEEDS=17 pytest tests/crash/test_functions_crash.py`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import pickle
import random
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import cloudpickle
import grpc
import psutil
import pytest
from gridloom.api.functions.v1 import pool_pb2, session_pb2
from gridloom_services.common.sqlite import integrity_problems
from gridloom_services.common.tokens import GangTokens
from gridloom_services.functions.store.sql import SqlCallStore

from tests.support.eventually import eventually
from tests.support.functions import SECRET, Client

if TYPE_CHECKING:
    from pathlib import Path

SEEDS = [int(seed) for seed in os.environ.get("GRIDLOOM_CRASH_SEEDS", "1").split()]
CALLS = 1500
KILLS = 4
PATIENCE_S = 60.0


def once(number):
    """A value that no other execution has."""
    import os

    return number, os.urandom(8)


def envelope(value) -> bytes:
    return b"\x01" + pickle.dumps(value, protocol=5)


def code_of(function) -> bytes:
    function.__module__ = "__main__"
    return b"\x01" + cloudpickle.dumps((function, ""))


class ServiceUnderFire:
    """The service's process; killed, it is started again on the same folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.address = ""
        self.kills = 0

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.functions_process", str(self.home)),
            stdout=asyncio.subprocess.PIPE,
        )
        line = await asyncio.wait_for(self._process.stdout.readline(), PATIENCE_S)
        self.address = line.decode().strip()

    async def kill(self) -> None:
        self.kills += 1
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        await self._process.wait()


class Host:
    """A pool's real host with two workers. It outlives the service."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._process: subprocess.Popen | None = None

    async def start(self) -> None:
        jobs = self._home / "jobs.json"
        await eventually(jobs.exists)
        ((job_id, job),) = json.loads(jobs.read_text()).items()
        told = {
            "GRIDLOOM_POOL_ID": job["pool"],
            "GRIDLOOM_POOL_SPEC": base64.b64encode(bytes.fromhex(job["spec"])).decode(),
            "GRIDLOOM_FUNCTIONS_SOCKET": str(self._home / "functions" / "functions.sock"),
            "GRIDLOOM_TOKEN": GangTokens(SECRET).issue(job_id, 1, "default"),
            "GRIDLOOM_JOB_ID": job_id,
            "GRIDLOOM_ATTEMPT": "1",
            "GRIDLOOM_REPLICAS": "2",
            "GRIDLOOM_WORKDIR": str(self._home),
        }
        command = [sys.executable, "-m", "gridloom.worker.pool_host"]
        self._process = await asyncio.to_thread(_started, command, os.environ | told)

    def kill_a_worker(self, rng: random.Random) -> None:
        if self._process is None:
            return
        with contextlib.suppress(psutil.Error):
            workers = psutil.Process(self._process.pid).children()
            if workers:
                rng.choice(workers).send_signal(signal.SIGKILL)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)


def _started(command: list[str], environment: dict[str, str]) -> subprocess.Popen:
    return subprocess.Popen(command, env=environment)


class StubbornClient:
    """Sends calls, whatever happens to its stream; sees every result once."""

    def __init__(self, service: ServiceUnderFire, rng: random.Random) -> None:
        self._service = service
        self._rng = rng
        self._key = rng.randbytes(16)
        self._sent: list[session_pb2.Frame] = []
        self._client: Client | None = None
        self._next = 1
        self._confirmed = 0
        self.seen: dict[tuple[int, int], bytes] = {}
        self.expected: set[tuple[int, int]] = set()
        self.violations: list[str] = []

    async def run(self) -> None:
        while len(self._sent) == 0 or self._next <= CALLS or self.expected - self.seen.keys():
            try:
                await self._talk()
            except (grpc.aio.AioRpcError, AssertionError, asyncio.InvalidStateError):
                await asyncio.sleep(0.02)
            finally:
                await self._hang_up()

    async def _hang_up(self) -> None:
        if self._client is not None:
            self._look()
            await self._client.close()
            self._client = None

    async def _talk(self) -> None:
        client = self._client = Client(self._service.address, self._key)
        await client.connect(confirmed=self._confirmed)
        await client.define(code_of(once), pool=pool_pb2.PoolSpec(python=sys.executable))
        for frame in self._sent:
            if frame.first_sequence + len(frame.arguments) - 1 > client.welcome.acknowledged:
                await client.send(frames=[frame])
        while not client.call.done():
            if self._next <= CALLS:
                await client.send(frames=[self._frame()])
            self._look()
            if not self.expected - self.seen.keys() and self._next > CALLS:
                await client.confirm()
                await asyncio.sleep(0.1)
                return
            if self._rng.random() < 0.3 and client.result_number > self._confirmed:
                await client.confirm()
                self._confirmed = client.result_number
            await asyncio.sleep(self._rng.uniform(0, 0.02))

    def _frame(self) -> session_pb2.Frame:
        """The next few calls: plain ones, or chunks."""
        rng, first = self._rng, self._next
        count = min(rng.choice([1, 1, 5, 40]), CALLS + 1 - first)
        frame = session_pb2.Frame(first_sequence=first, spec=1)
        are_chunks = rng.random() < 0.15
        for sequence in range(first, first + count):
            items = rng.randint(1, 20) if are_chunks else 0
            pairs = [((sequence,), {}) for _ in range(items)]
            frame.arguments.append(envelope(pairs if items else ((sequence,), {})))
            frame.items.extend([items] if items else [])
            self.expected |= {(sequence, item) for item in range(items or 1)}
        self._next += count
        self._sent.append(frame)
        return frame

    def _look(self) -> None:
        """Take in the results; one that differs from what was told before is a violation."""
        assert self._client is not None
        for place, (status, value) in self._client.results.items():
            if status != 1:
                self.violations.append(f"{place} ended with {status}: {value!r}")
            known = self.seen.setdefault(place, value)
            if known != value:
                self.violations.append(f"{place} has two results")
        for place, times in self._client.times.items():
            if times > 1:
                self.violations.append(f"{place} came {times} times on one stream")


async def open_fire(service: ServiceUnderFire, host: Host, rng: random.Random) -> None:
    for _ in range(KILLS):
        await asyncio.sleep(rng.uniform(0.02, 0.5))
        if rng.random() < 0.4:
            host.kill_a_worker(rng)
        else:
            await service.kill()
            await asyncio.sleep(rng.choice([0, 0, 0.2]))
            await service.start()


async def unfinished_in(home: Path) -> int:
    store = SqlCallStore(f"sqlite:///{home / 'functions.db'}")
    await store.open()
    found = await store.recover()
    await store.close()
    return len(found.lanes) + len(found.waiting)


@pytest.mark.parametrize("seed", SEEDS)
async def test_no_call_is_lost_and_none_has_two_results(seed, tmp_path):
    print(f"seed {seed}")
    rng = random.Random(seed)
    service, host = ServiceUnderFire(tmp_path), Host(tmp_path)
    await service.start()
    client = StubbornClient(service, random.Random(rng.random()))
    try:
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
            tasks.create_task(client.run())
            await host.start()
            await open_fire(service, host, rng)
    finally:
        host.stop()
        await service.stop()
    assert client.violations == []
    assert client.expected == client.seen.keys()
    assert integrity_problems(tmp_path / "functions.db") == []
    assert await unfinished_in(tmp_path) == 0
