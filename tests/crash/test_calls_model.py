"""Random calls, answers, deaths of workers, cut streams, and crashes at any commit, held against a
model of a few lines: what was acknowledged stays so; each call has one result, one that a worker
gave who had been asked; what may begin once does; what was processed is not told again.

A seed decides what happens, but not how fast: `CALLS_SEEDS="17 18" pytest ...` tries others.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
from collections import Counter, defaultdict
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from gridloom.api.functions.v1 import call_pb2, session_pb2, worker_pb2
from gridloom_services.common.sqlite import integrity_problems
from gridloom_services.common.tokens import GangTokens
from gridloom_services.functions.store.sql import SqlCallStore

from tests.crash.mortal import MortalService
from tests.support.eventually import eventually
from tests.support.functions import SECRET, Client, FakeWorker, pool_options

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from pathlib import Path

OK = call_pb2.CALL_STATUS_OK
ERROR = call_pb2.CALL_STATUS_ERROR
CANCELLED = call_pb2.CALL_STATUS_CANCELLED
LOST = call_pb2.CALL_STATUS_WORKER_DIED
PATIENCE_S = 120.0
STEPS = 80
SEEDS = [int(seed) for seed in os.environ.get("CALLS_SEEDS", "1 2 3 4").split()]
# Numbers of specifications: plain calls, and those that may begin once at most.
PLAIN, ONCE = 1, 2
CODES = {PLAIN: b"plain", ONCE: b"once"}
Place = tuple[int, int]
BROKEN = (grpc.aio.AioRpcError, asyncio.InvalidStateError, ConnectionError)


class PlayedWorker(FakeWorker):
    """Answers when it is told to, each time with something that was never answered before."""

    numbers = itertools.count()

    def places(self, batch: worker_pb2.Batch) -> Iterator[tuple[int, bytes, list[Place]]]:
        """Each unit of a batch: its number, its function's code, its items."""
        unit = 0
        for run in batch.runs:
            for position, sequence in enumerate(run.sequences):
                items = [0]
                if run.ranges:
                    part = run.ranges[position]
                    items = list(range(part.first, part.first + part.count))
                yield unit, self.codes[run.function_digest], [(sequence, item) for item in items]
                unit += 1

    def fresh(self, batch: worker_pb2.Batch, status: int) -> worker_pb2.Results:
        """Results for all of a batch."""
        results = worker_pb2.Results(epoch=batch.epoch, batch=batch.number, last=True)
        unit = 0
        for run in batch.runs:
            for position in range(len(run.sequences)):
                value = b"%d" % next(self.numbers)
                if status == ERROR:
                    value = call_pb2.CallError(message=value.decode()).SerializeToString()
                answer = results.runs.add(first_unit=unit, statuses=bytes([status]), values=[value])
                if run.ranges:
                    answer.ranges.append(run.ranges[position])
                unit += 1
        return results


class Calls:
    """Drives one client, some workers, and a mortal service."""

    def __init__(self, home: Path, dice: random.Random) -> None:
        self.dice = dice
        self.service = MortalService(home)
        self.client: Any = None
        self.frames: list[session_pb2.Frame] = []
        self.next = 1
        self.job: tuple[str, str] | None = None
        self.names = itertools.count()
        self.workers: list[PlayedWorker] = []
        # Of workers that are gone, and of services that are.
        self.late: list[worker_pb2.Results] = []
        # The model.
        self.acknowledged = 0
        self.number = self.confirmed = 0
        self.expected: dict[Place, int] = {}
        self.given: defaultdict[Place, set[bytes]] = defaultdict(set)
        self.begun: Counter[Place] = Counter()
        self.cancelled: set[Place] = set()
        self.told: dict[Place, tuple[int, bytes]] = {}
        self.processed: set[Place] = set()
        # When this stream began.
        self.settled: set[Place] = set()

    # ---- what keeps it going

    async def run(self, steps: int) -> None:
        """So many things happen; then all of it comes to its end."""
        self.service.begin()
        await self._connect()
        for _ in range(steps):
            await self._step(self.dice.choice(EVENTS)(self))
            self.check()
        self.service.dies_after(-1)
        await self._step(asyncio.sleep(0.01))
        await self._finish()
        self.check()
        await self.close()
        await self._check_store()

    async def _step(self, work: Coroutine[Any, Any, Any]) -> None:
        """Something that may break; then as a client and workers do: come back."""
        try:
            await work
        except BROKEN:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.005)
        while not self.service.is_alive or self.client.call is None or self.client.call.done():
            with contextlib.suppress(*BROKEN):
                await self._come_back()
        self._look()

    async def _come_back(self) -> None:
        if not self.service.is_alive:
            for worker in list(self.workers):
                await self._lose(worker)
            self.service.begin()
        await self._connect()

    async def _connect(self) -> None:
        """As a client does whose stream broke: greet, define, send again what is not on disk."""
        if self.client is not None:
            await self.client.close()
            self._look()
        self.client, self.settled = Client(self.service.address), self.processed
        await self._greet()
        on_disk = self.client.welcome.acknowledged
        assert on_disk >= self.acknowledged
        self.acknowledged = on_disk
        retries = session_pb2.CallRetries(worker_died=1000)
        await self.client.define(CODES[PLAIN], PLAIN, retries=retries, **pool_options())
        await self.client.define(CODES[ONCE], ONCE, at_most_once=True, **pool_options())
        for frame in self.frames:
            if frame.first_sequence + len(frame.arguments) > on_disk + 1:
                await self.client.send(frames=[frame])

    async def _greet(self) -> None:
        try:
            await self.client.connect(confirmed=self.confirmed)
        except AssertionError:
            # Only the dead say nothing.
            await eventually(lambda: not self.service.is_alive)
            raise ConnectionError from None

    async def _lose(self, worker: PlayedWorker) -> None:
        self.workers.remove(worker)
        await worker.die()
        self.late += [worker.fresh(batch, OK) for batch in worker.batches]

    def _look(self) -> None:
        """Hold what was told on this stream against the model."""
        self.acknowledged = max(self.acknowledged, self.client.acknowledged)
        self.number = max(self.number, self.client.result_number)
        for place, result in self.client.results.items():
            assert place not in self.settled, place
            assert self.client.times[place] == 1, place
            assert self.told.setdefault(place, result) == result, place

    # ---- what happens

    async def submit(self) -> None:
        """A frame of calls or chunks."""
        spec = self.dice.choice((PLAIN, PLAIN, ONCE))
        items = self.dice.choice((0, 0, 3))
        frame = session_pb2.Frame(first_sequence=self.next, spec=spec)
        for sequence in range(self.next, self.next + self.dice.randint(1, 6)):
            frame.arguments.append(b"%d" % sequence)
            frame.items.extend([items] if items else [])
            self.expected |= {(sequence, item): spec for item in range(items or 1)}
            self.next = sequence + 1
        self.frames.append(frame)
        await self.client.send(frames=[frame])
        is_patient = self.dice.random() < 0.5
        while is_patient and self.client.acknowledged < self.next - 1:
            if self.client.call.done():
                return
            await asyncio.sleep(0.002)

    async def join(self) -> None:
        """A worker comes."""
        if self.frames and len(self.workers) < 2:
            await self._join()

    async def _join(self) -> PlayedWorker | None:
        while self.job is None and self.service.is_alive:
            self.job = self.service.pool()
            await asyncio.sleep(0.005)
        if self.job is None:
            return None
        # What a played worker asks of the service in its process.
        socket = SimpleNamespace(path=self.service.home / "functions" / "functions.sock")
        played = SimpleNamespace(tokens=GangTokens(SECRET), app=SimpleNamespace(socket=socket))
        worker = PlayedWorker(played, *self.job, name=f"w{next(self.names)}")
        worker.is_automatic = False
        await worker.start()
        self.workers.append(worker)
        return worker

    async def answer(self) -> None:
        """A worker, for one of the batches that it holds."""
        held = [(worker, batch) for worker in self.workers for batch in worker.batches]
        if held:
            await self._answer(*self.dice.choice(held), self.dice.choice((OK, OK, OK, ERROR)))

    async def _answer(self, worker: PlayedWorker, batch: worker_pb2.Batch, status: int) -> None:
        worker.batches.remove(batch)
        results = worker.fresh(batch, status)
        values = {run.first_unit: run.values[0] for run in results.runs}
        for unit, code, places in worker.places(batch):
            for place in places:
                self.given[place].add(values[unit])
                self.begun[place] += code == CODES[ONCE]
        worker.send(worker_pb2.WorkerFrame(results=results))
        await asyncio.sleep(0.005)

    async def worker_dies(self) -> None:
        """With all that it holds."""
        if self.workers:
            await self._lose(self.dice.choice(self.workers))

    async def answer_late(self) -> None:
        """For a batch that was taken from somebody else, perhaps in another life."""
        if self.workers and self.late:
            results = self.dice.choice(self.late)
            self.workers[0].send(worker_pb2.WorkerFrame(results=results))

    async def cancel(self) -> None:
        """Some calls, begun or not, ended or not."""
        first, count = self.dice.randint(1, self.next), self.dice.randint(1, 5)
        self.cancelled |= {place for place in self.expected if first <= place[0] < first + count}
        order = session_pb2.CallCancel(first_sequence=first, count=count, running=True)
        await self.client.send(cancels=[order])

    async def confirm(self) -> None:
        """Everything that was told."""
        self._look()
        self.confirmed = self.number
        self.processed = set(self.told)
        await self.client.send(confirmed=self.confirmed)

    async def cut(self) -> None:
        """The client's stream."""
        await self._connect()

    async def doom(self) -> None:
        """The service dies before or after one of its next commits."""
        self.service.dies_after(self.dice.randint(0, 8))

    async def kill(self) -> None:
        """The service dies now."""
        self.service.end()

    # ---- what always holds

    def check(self) -> None:
        """Only what was given is told; what may begin once has not begun twice."""
        for place, (status, value) in self.told.items():
            assert place in self.expected
            if status == CANCELLED:
                assert place in self.cancelled
            elif value not in self.given[place]:
                # Of what may begin once, the run was lost.
                assert status == LOST
                assert self.expected[place] == ONCE
        assert [place for place, times in self.begun.items() if times > 1] == []

    async def _finish(self) -> None:
        """With a good worker, everything has its result."""
        if not self.frames:
            return
        for worker in list(self.workers):
            await self._lose(worker)
        worker = await self._join()
        assert worker is not None
        while self.expected.keys() - self.told.keys():
            for batch in list(worker.batches):
                await self._answer(worker, batch, OK)
            await asyncio.sleep(0.005)
            self._look()
        await self._lose(worker)

    async def close(self) -> None:
        """Let go of everything."""
        for worker in list(self.workers):
            await self._lose(worker)
        if self.client is not None:
            await self.client.close()
        self.service.end()

    async def _check_store(self) -> None:
        store = SqlCallStore(f"sqlite:///{self.service.home / 'functions.db'}")
        await store.open()
        found = await store.recover()
        await store.close()
        assert (found.lanes, found.waiting, found.attempts, found.holds) == ([], [], [], [])
        assert integrity_problems(self.service.home / "functions.db") == []


EVENTS = [
    *[Calls.submit] * 4,
    *[Calls.answer] * 5,
    *[Calls.join] * 3,
    *[Calls.doom] * 2,
    Calls.answer_late,
    Calls.cancel,
    Calls.confirm,
    Calls.cut,
    Calls.kill,
    Calls.worker_dies,
]


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
async def test_calls_are_kept_and_told_as_the_model_says(seed, tmp_path):
    calls = Calls(tmp_path, random.Random(seed))
    try:
        async with asyncio.timeout(PATIENCE_S):
            await calls.run(STEPS)
    finally:
        await calls.close()
