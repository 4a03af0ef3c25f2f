"""Workers that run calls on an event loop."""

from __future__ import annotations

import asyncio
import os
import time

import gridloom
import pytest
from gridloom.api.functions.v1 import pool_pb2, worker_pb2
from gridloom.errors import CancelledError, TimeLimitError


async def nap(seconds):
    await asyncio.sleep(seconds)
    return seconds


def double(x):
    return 2 * x


@pytest.fixture
def start(service, start_host):
    """Starts a pool; its worker's and its host's connection."""

    def started(**fields):
        start_host(pool_pb2.PoolSpec(concurrency=pool_pb2.CONCURRENCY_ASYNCIO, **fields))
        return service.worker(), service.host()

    return started


@pytest.fixture
def worker(start):
    return start()[0]


def test_many_coroutines_run_at_once(service, worker):
    async def meet(_):
        import asyncio

        barrier = globals().setdefault("barrier", asyncio.Barrier(200))
        async with asyncio.timeout(20):
            await barrier.wait()
        return True

    assert worker.hello.slots == 256
    found = service.outcomes(worker, service.batch(service.chunk(meet, range(200))))
    assert set(found.values()) == {True}


def test_no_more_run_at_once_than_there_are_slots(service, start):
    async def highest(_):
        import asyncio

        state = globals().setdefault("state", {"now": 0, "most": 0})
        state["now"] += 1
        state["most"] = max(state["most"], state["now"])
        await asyncio.sleep(0.05)
        state["now"] -= 1
        return state["most"]

    worker, _ = start(slots=3)
    found = service.outcomes(worker, service.batch(service.chunk(highest, range(9))))
    assert max(found.values()) == 3


def test_errors_come_back_as_themselves(service, worker):
    async def fail():
        raise LookupError("nothing here")

    error = service.call(worker, fail)
    assert type(error) is LookupError
    assert "nothing here" in str(error.__cause__)


def test_ordinary_functions_run_beside_the_loop(service, worker):
    def block(seconds):
        time.sleep(seconds)
        return "blocked"

    batch = service.batch(service.calls(block, (0.5,)), service.calls(nap, (0,)))
    worker.send(batch=batch)
    first = worker.take("results")
    assert [run.first_unit for run in first.runs] == [1]
    assert service.collect(worker, batch)[0, 0] == "blocked"


def test_what_a_function_returns_is_awaited(service, worker):
    assert service.call(worker, lambda: nap(0)) == 0


def test_a_coroutine_past_its_timeout_is_cancelled(service, worker):
    assert type(service.call(worker, nap, 60, timeout_ms=100)) is TimeLimitError
    assert service.call(worker, nap, 0) == 0


def test_a_coroutine_that_resists_has_timed_out_all_the_same(service, worker):
    async def resist():
        import asyncio

        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                continue

    assert type(service.call(worker, resist, timeout_ms=100)) is TimeLimitError
    assert service.call(worker, nap, 0) == 0


def test_a_coroutine_that_holds_up_the_loop_is_killed_after_its_timeout(service, start):
    async def hold_up():
        time.sleep(1000)  # noqa: ASYNC251

    worker, host = start()
    worker.send(batch=service.batch(service.calls(hold_up, (), timeout_ms=100)))
    died = host.take("died")
    assert died.timed_out
    assert service.call(service.worker(), nap, 0) == 0


def test_a_running_coroutine_is_cancelled(service, worker):
    batch = service.batch(service.calls(nap, (60,)))
    worker.send(batch=batch)
    time.sleep(0.1)
    cancel = worker_pb2.UnitCancel(batch=batch.number, unit=0, running=True, grace_ms=1000)
    worker.send(cancel=cancel)
    assert type(service.collect(worker, batch)[0, 0]) is CancelledError


def test_each_call_knows_itself_and_its_output(service, worker):
    async def speak(name):
        import asyncio

        print(name)
        await asyncio.sleep(0.05)
        print(gridloom.current_call().item)

    service.outcomes(worker, service.batch(service.chunk(speak, "ab", capture_output=True)))
    printed = {}
    for each in worker.seen("output"):
        printed[each.item] = printed.get(each.item, b"") + each.data
    assert printed == {0: b"a\n0\n", 1: b"b\n1\n"}


def test_an_exit_is_an_error_like_any_other(service, worker):
    async def leave():
        raise SystemExit(3)

    assert type(service.call(worker, leave)) is SystemExit
    assert service.call(worker, nap, 0) == 0


def test_a_drained_worker_finishes_and_goes(service, worker):
    batch = service.batch(service.calls(nap, (0.2,), (0.1,)))
    worker.send(batch=batch)
    worker.send(drain=worker_pb2.Drain())
    assert set(service.collect(worker, batch).values()) == {0.2, 0.1}
    assert worker.closed.wait(10)


def test_a_worker_comes_back_to_a_restarted_service(service, worker):
    service.stop()
    service.listen()
    again = service.worker()
    assert again.hello.pid == worker.hello.pid
    assert service.call(again, nap, 0) == 0


def test_a_function_that_forks_is_answered_once(service, worker):
    def fork():
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        return child == 0

    assert service.call(worker, fork) is False
    assert service.call(worker, nap, 0) == 0
    assert not worker.seen("results")
