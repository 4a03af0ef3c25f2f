"""Workers under random calls, deaths and cancels: every item is answered once, or not at all.

A run prints its seed; the same seed gives the same choices again, though not the same timing.
"""

from __future__ import annotations

import os
import queue
import random
import signal
import threading
import time

import pytest
from gridloom.api.functions.v1 import call_pb2, pool_pb2, worker_pb2

from tests.unit.worker.pool_service import HostProcess, running_service

SECONDS = 4.0
BATCHES_HELD = 3
OK = call_pb2.CALL_STATUS_OK


def give_back(x):
    return x


def fail(x):
    raise ValueError(x)


def misbehave(x):
    """By its number: fails, naps, hangs on for a while, prints, returns what cannot travel."""
    kind = x % 97
    if kind == 3:
        raise KeyError(x)
    if kind == 11:
        return threading.Lock()
    if kind == 13:
        try:
            time.sleep(0.4)
        except BaseException:  # noqa: BLE001
            print("no")
    if kind == 17:
        print("out", x)
    time.sleep(0.05 if kind == 5 else 0)
    return x


def die(x):
    if x % 50 == 7:
        os._exit(3)
    return x


def wait(x):
    from gridloom.worker.context import waiting

    with waiting():
        time.sleep(0.02)
    return x


FUNCTIONS = (give_back, fail, misbehave, die, wait)


class Driver:
    """Keeps one worker busy and checks its answers."""

    def __init__(self, service, host, worker, seed):
        self.service, self.host, self.worker = service, host, worker
        self.random = random.Random(seed)
        self.wanted = {}
        self.answered = 0

    def run(self, until):
        """Until the time is over or the worker is dead."""
        try:
            while time.monotonic() < until:
                while len(self.wanted) < BATCHES_HELD:
                    self.send()
                frame = self.worker.frames.get(timeout=20)
                if frame is None:
                    return
                if frame.HasField("results"):
                    self.check(frame.results)
        except OSError:
            return  # it died while we wrote

    def send(self):
        draw = self.random
        function = draw.choice(FUNCTIONS)
        values = [draw.randrange(1000) for _ in range(draw.randrange(1, 200))]
        options = {
            "timeout_ms": draw.choice([0, 0, 20, 100, 5000]),
            "capture_output": draw.random() < 0.2,
            "isolated": draw.random() < 0.1,
        }
        if draw.random() < 0.5:
            run = self.service.chunk(function, values, **options)
            wanted = {(0, item): value for item, value in enumerate(values)}
        else:
            run = self.service.calls(function, *[(value,) for value in values], **options)
            wanted = {(unit, 0): value for unit, value in enumerate(values)}
        batch = self.service.batch(run)
        self.wanted[batch.number] = wanted
        self.worker.send(batch=batch)
        self.disturb(batch.number, len(values))

    def disturb(self, batch, size):
        draw = self.random
        if draw.random() < 0.01:
            os.kill(self.worker.hello.pid, signal.SIGKILL)
        if draw.random() > 0.2:
            return
        cancel = worker_pb2.UnitCancel(
            batch=batch, running=draw.random() < 0.5, grace_ms=draw.choice([50, 3000])
        )
        cancel.ranges.add(first=draw.randrange(size), count=draw.randrange(1, 20))
        self.worker.send(cancel=cancel)
        if cancel.running:
            self.host.send(cancel=cancel)

    def check(self, results):
        wanted = self.wanted[results.batch]
        for run in results.runs:
            for place, status, value in _answers(run, wanted):
                expected = wanted.pop(place)  # KeyError: it was answered twice
                self.answered += 1
                if status == OK:
                    assert self.service.codec.decode(value) == expected
        if results.last:
            assert self.wanted.pop(results.batch) == {}


def _answers(run, wanted):
    """Place, status and envelope of each item; the values of a run of items are taken apart."""
    from gridloom.payload import PayloadCodec

    codec = PayloadCodec()
    for position, (status, value) in enumerate(zip(run.statuses, run.values, strict=True)):
        if not run.ranges:
            # A chunk that is given back is one unit.
            unit = run.first_unit + position
            yield from ((place, status, value) for place in list(wanted) if place[0] == unit)
            continue
        (items,) = run.ranges
        values = codec.decode(value) if status == OK else [None] * items.count
        assert len(values) == items.count
        for offset, each in enumerate(values):
            envelope = codec.encode_value(each).data
            yield (run.first_unit, items.first + offset), status, envelope


@pytest.mark.parametrize("concurrency", ["PROCESSES", "THREADS", "ASYNCIO"])
def test_every_item_is_answered_once_whatever_happens_to_its_worker(tmp_path, concurrency):
    seed = random.randrange(10**6)
    print("seed", seed)
    spec = pool_pb2.PoolSpec(
        concurrency=pool_pb2.Concurrency.Value(f"CONCURRENCY_{concurrency}"),
        slots=0 if concurrency == "PROCESSES" else 4,
    )
    drivers, failures = [], []
    with running_service(tmp_path / "functions.sock") as service:
        host = HostProcess(tmp_path, service, spec, replicas=2)
        connection = service.host()
        until = time.monotonic() + SECONDS

        def drive(driver):
            try:
                driver.run(until)
            except Exception as error:  # noqa: BLE001
                failures.append(error)

        threads = []
        while time.monotonic() < until:
            try:
                worker = service.worker(timeout_s=0.2)
            except queue.Empty:
                continue
            drivers.append(Driver(service, connection, worker, f"{seed}-{len(drivers)}"))
            threads.append(threading.Thread(target=drive, args=(drivers[-1],)))
            threads[-1].start()
        for thread in threads:
            thread.join(30)
        assert host.process.poll() is None
        host.close()
    assert failures == []
    assert len(drivers) > 2
    assert sum(driver.answered for driver in drivers) > 100
