"""Workers that run calls in threads."""

from __future__ import annotations

import os
import threading
import time

import gridloom
import pytest
from gridloom.api.functions.v1 import call_pb2, pool_pb2, worker_pb2
from gridloom.errors import CancelledError, TimeLimitError

from tests.unit.worker.pool_service import eventually

SLOTS = 4


def double(x):
    return 2 * x


def nap(seconds):
    time.sleep(seconds)
    return seconds


@pytest.fixture
def start(service, start_host):
    """Starts a pool; its worker's and its host's connection."""

    def started(**fields):
        spec = pool_pb2.PoolSpec(concurrency=pool_pb2.CONCURRENCY_THREADS, slots=SLOTS, **fields)
        start_host(spec)
        return service.worker(), service.host()

    return started


@pytest.fixture
def worker(start):
    return start()[0]


def test_the_hello_says_how_many_calls_run_at_once(worker):
    assert worker.hello.slots == SLOTS


def test_units_come_back_under_their_numbers(service, worker):
    batch = service.batch(
        service.calls(double, (1,), (2,)),
        service.chunk(double, range(20), first=5, count=10),
        service.calls(divmod, (1, 0)),
    )
    found = service.outcomes(worker, batch)
    assert (found[0, 0], found[1, 0]) == (2, 4)
    assert [found[2, item] for item in range(5, 15)] == [2 * x for x in range(5, 15)]
    assert type(found[3, 0]) is ZeroDivisionError
    assert len(found) == 13


def test_as_many_items_run_at_once_as_there_are_slots(service, worker):
    def meet(_, parties=SLOTS):
        import threading

        barrier = globals().setdefault("barrier", threading.Barrier(parties))
        return barrier.wait(20) >= 0

    batch = service.batch(service.chunk(meet, range(2 * SLOTS)))
    assert all(value is True for value in service.outcomes(worker, batch).values())


def test_calls_share_a_process_and_not_a_thread(service, worker):
    def where():
        time.sleep(0.1)
        return os.getpid(), threading.get_ident()

    found = service.outcomes(worker, service.batch(service.calls(where, *[()] * SLOTS)))
    assert len({pid for pid, _ in found.values()}) == 1
    assert len({thread for _, thread in found.values()}) == SLOTS


def test_the_time_of_calls_beside_each_other_is_added_up(service, worker):
    batch = service.batch(service.calls(nap, *[(0.2,)] * SLOTS))
    worker.send(batch=batch)
    spent_us = 0
    while not (results := worker.take("results")).last:
        spent_us += results.elapsed_us
    assert spent_us + results.elapsed_us >= SLOTS * 200_000


def test_a_quick_answer_does_not_wait_for_a_slow_one(service, worker):
    batch = service.batch(service.calls(nap, (0.5,), (0,)))
    worker.send(batch=batch)
    first = worker.take("results")
    assert [run.first_unit for run in first.runs] == [1]
    assert service.collect(worker, batch)[0, 0] == 0.5


def test_a_call_past_its_timeout_is_answered_and_its_slot_is_free(service, worker):
    batch = service.batch(service.calls(nap, *[(60,)] * (SLOTS - 1), timeout_ms=200))
    found = service.outcomes(worker, batch)
    assert {type(error) for error in found.values()} == {TimeLimitError}
    assert service.call(worker, double, 2) == 4


def test_a_thread_that_runs_python_is_ended_by_its_timeout(service, worker):
    def spin():
        while True:
            time.sleep(0.01)

    assert type(service.call(worker, spin, timeout_ms=100)) is TimeLimitError

    def threads():
        return threading.active_count()

    eventually(lambda: service.call(worker, threads) <= 2)


def test_a_worker_full_of_hanging_threads_is_replaced(service, start):
    worker, host = start()
    batch = service.batch(service.calls(nap, *[(60,)] * SLOTS, timeout_ms=100))
    service.outcomes(worker, batch)
    died = host.take("died")
    assert (died.exit_code, died.signal, died.busy) == (0, 0, False)
    assert service.call(service.worker(), double, 2) == 4


def test_a_running_call_is_cancelled(service, worker):
    batch = service.batch(service.calls(nap, (60,), (0.2,)))
    worker.send(batch=batch)
    time.sleep(0.1)
    cancel = worker_pb2.UnitCancel(batch=batch.number, unit=0, running=True, grace_ms=1000)
    worker.send(cancel=cancel)
    found = service.collect(worker, batch)
    assert type(found[0, 0]) is CancelledError
    assert found[1, 0] == 0.2


def test_items_that_have_not_begun_are_left_out(service, worker):
    batch = service.batch(service.chunk(nap, [0.2] * 12))
    worker.send(batch=batch)
    time.sleep(0.05)
    ranges = [call_pb2.ItemRange(first=0, count=12)]
    worker.send(cancel=worker_pb2.UnitCancel(batch=batch.number, unit=0, ranges=ranges))
    found = service.collect(worker, batch)
    assert [found[0, item] for item in range(SLOTS)] == [0.2] * SLOTS
    assert {type(found[0, item]) for item in range(SLOTS, 12)} == {CancelledError}


def test_each_call_knows_itself(service, worker):
    def who(_):
        time.sleep(0.05)
        return gridloom.current_call().item

    found = service.outcomes(worker, service.batch(service.chunk(who, range(8))))
    assert [found[0, item] for item in range(8)] == list(range(8))


def test_what_each_call_prints_is_told_apart(service, worker):
    def speak(name):
        for part in ("one", "two"):
            print(name, part)
            time.sleep(0.05)

    batch = service.batch(service.chunk(speak, "abc", capture_output=True))
    service.outcomes(worker, batch)
    printed = {}
    for each in worker.seen("output"):
        printed[each.item] = printed.get(each.item, b"") + each.data
    assert printed == {n: b"%c one\n%c two\n" % (c, c) for n, c in enumerate(b"abc")}


def test_a_gigabyte_of_output_is_cut_with_a_note(service, worker):
    def shout():
        block = "x" * (1 << 20)
        for _ in range(1024):
            print(block, end="")

    assert service.call(worker, shout, capture_output=True) is None
    printed = b"".join(each.data for each in worker.seen("output"))
    assert len(printed) < 2 << 20
    assert b"1,073,741,824 bytes were printed" in printed[-100:]


def test_coroutine_functions_run_here_too(service, worker):
    async def later(x):
        return x + 1

    assert service.call(worker, later, 1) == 2


def test_all_calls_in_a_dying_worker_are_named(service, start):
    def die():
        time.sleep(0.3)
        os._exit(1)

    worker, host = start()
    batch = service.batch(service.calls(nap, (60,), (60,)), service.calls(die, ()))
    worker.send(batch=batch)
    died = host.take("died")
    assert died.busy
    units = {died.unit, *(place.unit for place in died.others)}
    assert units == {0, 1, 2}


def test_a_call_that_waits_says_so(service, worker, tmp_path):
    def wait(path):
        from gridloom.worker.context import waiting

        with waiting():
            while not os.path.exists(path):  # noqa: PTH110
                time.sleep(0.01)

    batch = service.batch(service.calls(wait, (str(tmp_path / "go"),)))
    worker.send(batch=batch)
    assert worker.take("blocked").blocked
    assert service.call(worker, double, 1) == 2
    (tmp_path / "go").touch()
    assert not worker.take("blocked").blocked
    assert service.collect(worker, batch)[0, 0] is None


def test_a_call_that_forks_is_answered_once(service, worker):
    def fork():
        return os.fork() == 0

    assert service.call(worker, fork) is False
    assert service.call(worker, double, 1) == 2
    assert not worker.seen("results")


def test_an_exit_is_an_error_like_any_other(service, worker):
    def leave():
        raise SystemExit(3)

    assert type(service.call(worker, leave)) is SystemExit
    assert service.call(worker, double, 1) == 2


def test_a_drained_worker_finishes_and_goes(service, worker):
    batch = service.batch(service.calls(nap, *[(0.1,)] * (2 * SLOTS)))
    worker.send(batch=batch)
    worker.send(drain=worker_pb2.Drain())
    assert set(service.collect(worker, batch).values()) == {0.1}
    assert worker.closed.wait(10)


def test_a_worker_comes_back_to_a_restarted_service(service, worker):
    worker.send(batch=service.batch(service.calls(nap, (0.3,))))
    time.sleep(0.1)
    service.stop()
    service.listen()
    again = service.worker()
    assert again.hello.pid == worker.hello.pid
    assert service.call(again, double, 3) == 6
    time.sleep(0.4)
    assert not again.seen("results")
