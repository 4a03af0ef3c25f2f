"""Python functions through the SDK, on a real embedded platform with real workers."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import importlib
import itertools
import operator
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from typing import TYPE_CHECKING
from unittest.mock import Mock

import gridloom
import joblib
import numpy as np
import pytest
from gridloom.calls.group import Group
from gridloom.calls.states import CallState, PoolState
from gridloom.errors import (
    CancelledError,
    InvalidRequestError,
    NotFoundError,
    OutOfMemoryError,
    PayloadTooLargeError,
    PoolBrokenError,
    RemoteTraceback,
    TimeLimitError,
    UnpicklableError,
    WorkerDiedError,
)

from tests.support.eventually import eventually_now
from tests.support.home import Home

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE_S = 60


@contextlib.contextmanager
def running(path: Path, *words: str, **settings: object) -> Iterator[Home]:
    """A platform on this home; everything that it runs ends with it."""
    home = Home(path)
    home.environment.update({f"GRIDLOOM_{k.upper()}": str(v) for k, v in settings.items()})
    ended = home.gridloom("up", *words)
    assert ended.code == 0, ended.err
    try:
        yield home
    finally:
        home.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with running(tmp_path_factory.mktemp("platform") / "home", "--cpus", "4") as home:
        yield home.path


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[gridloom.Client]:
    with gridloom.connect(home=home) as client:
        yield client


pytestmark = pytest.mark.usefixtures("client")


@gridloom.function
def square(x):
    return x * x


@gridloom.function
def add(a, b):
    return a + b


@gridloom.function
def total(values):
    return sum(values)


@gridloom.function
def where(_=None):
    return os.getpid()


@gridloom.function
def nap(seconds, result=None):
    time.sleep(seconds)
    return result


@gridloom.function
def picky(x):
    if x % 4 == 3:
        raise ValueError(f"not {x}")
    return x


@gridloom.function
def fibonacci(n):
    if n < 2:
        return n
    first, second = fibonacci.submit(n - 1), fibonacci.submit(n - 2)
    return first.result() + second.result()


@gridloom.function
async def pause(seconds, result=None):
    await asyncio.sleep(seconds)
    return result


def attempt_and_item(_):
    call = gridloom.current_call()
    return call.attempt, call.item


class Model:
    """A user's class with a method that runs there."""

    def __init__(self, scale: int) -> None:
        self.scale = scale

    @gridloom.function
    def scaled(self, x):
        return self.scale * x


# ---- single calls


def test_a_call_runs_in_another_process_and_its_value_comes_back():
    future = where.submit()
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(PATIENCE_S) not in {os.getpid(), os.getppid()}
    assert future.state is CallState.SUCCEEDED


def test_a_function_s_own_error_is_raised_with_the_remote_traceback():
    future = picky.submit(3)
    with pytest.raises(ValueError, match="not 3") as caught:
        future.result(PATIENCE_S)
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "in picky" in str(caught.value.__cause__)


def test_lambdas_closures_methods_and_builtins_run_there(client):
    base = 40
    assert client.submit(lambda x: x + base, 2).result(PATIENCE_S) == 42
    assert client.submit(pow, 2, 10).result(PATIENCE_S) == 1024
    assert Model(3).scaled.submit(5).result(PATIENCE_S) == 15
    assert client.submit("-".join, ["a", "b"]).result(PATIENCE_S) == "a-b"


def test_a_flood_of_calls_comes_back_whole():
    futures = [square.submit(n) for n in range(5_000)]
    assert [f.result(PATIENCE_S) for f in futures] == [n * n for n in range(5_000)]


def test_calls_that_wait_for_calls_do_not_block_each_other():
    assert fibonacci.submit(7).result(PATIENCE_S) == 13


def test_a_timeout_ends_a_call_and_its_worker_s_next_call_is_well():
    with pytest.raises(TimeLimitError):
        nap.options(timeout=0.3).submit(30).result(PATIENCE_S)
    assert square.submit(2).result(PATIENCE_S) == 4


def test_retries_run_a_failing_call_again(tmp_path):
    @gridloom.function(retries=3)
    def flaky(folder):
        tries = len(list(folder.iterdir()))
        (folder / str(tries)).touch()
        if tries < 2:
            raise OSError("not yet")
        return gridloom.current_call().attempt

    assert flaky.submit(tmp_path).result(PATIENCE_S) == 3
    assert len(list(tmp_path.iterdir())) == 3


@gridloom.function(retries=1)
def second_time(folder):
    marked = folder / "marked"
    if not marked.exists():
        marked.touch()
        raise OSError("not yet")
    return "done"


def test_a_named_call_tells_what_became_of_it_for_as_long_as_it_is_kept(tmp_path, client):
    named = second_time.options(name="kept").submit(tmp_path)
    unnamed = square.submit(3)
    assert (named.result(PATIENCE_S), unnamed.result(PATIENCE_S)) == ("done", 9)
    eventually_now(lambda: is_forgotten(client, unnamed.id))
    again = client.get(named.id)
    assert again.result(PATIENCE_S) == "done"
    taken_in, failed, over = again.events()
    states = [CallState.QUEUED, CallState.QUEUED, CallState.SUCCEEDED]
    assert [event.state for event in (taken_in, failed, over)] == states
    assert (failed.attempt, failed.reason) == (2, "OSError: not yet")
    assert taken_in.at <= failed.at <= over.at


def is_forgotten(client, identifier) -> bool:
    square.submit(1).result(PATIENCE_S)
    try:
        client.get(identifier)
    except NotFoundError:
        return True
    return False


def test_a_call_that_was_let_go_tells_what_is_known_here(client):
    future = square.submit(4)
    assert future.result(PATIENCE_S) == 16
    eventually_now(lambda: is_forgotten(client, future.id))
    sent, over = future.events()
    assert (sent.state, over.state) == (CallState.QUEUED, CallState.SUCCEEDED)
    assert sent.at is not None
    assert future.explain().message == f"{future.id} is SUCCEEDED"


async def test_groups_and_pools_tell_what_became_of_them(tmp_path, client):
    with client.pool(workers=1, name="told") as pool:
        results = pool.map(second_time, [tmp_path])
        assert list(results) == ["done"]
        told = list(results.events())
        assert [event.state for event in told] == [
            CallState.QUEUED,
            CallState.QUEUED,
            CallState.SUCCEEDED,
        ]
        assert (told[0].id, told[1].reason, told[2].reason) == (
            results.id,
            "OSError: not yet",
            "1 succeeded",
        )
        assert results.explain().message == f"{results.id} is SUCCEEDED: 1 of 1 items done"
        aio = gridloom.aio.AsyncClient(client)
        group = await aio.get(results.id)
        assert [event async for event in group.events()] == told
        assert await group.explain() == results.explain()
        same = await aio.get(pool.id)
        assert await same.explain() == pool.explain()
        assert [event async for event in same.events()] == list(pool.events())
        assert [line async for line in same.logs()] == []
    eventually_now(lambda: pool.state is PoolState.CLOSED)
    first, *_, last = pool.events()
    assert {event.job_id for event in pool.events()} > {""}
    assert (first.state, last.state) == (PoolState.IDLE, PoolState.CLOSED)


def test_maps_and_pools_are_waited_for_and_cancelled_like_other_handles(client):
    results = square.map(n for n in range(500))
    assert results.wait(PATIENCE_S) is CallState.SUCCEEDED
    assert next(results) == 0
    assert results.result(PATIENCE_S) == [n * n for n in range(1, 500)]
    with pytest.raises(TimeoutError):
        square.map(itertools.count()).wait(0.1)
    pool = client.pool(workers=1)
    future = pool.submit(nap, 60, "never")
    eventually_now(lambda: future.state is CallState.RUNNING)
    with pytest.raises(TimeoutError):
        pool.wait(0.05)
    assert list(pool.logs()) == []
    pool.cancel(grace=1)
    with pytest.raises(CancelledError):
        future.result(PATIENCE_S)
    pool.wait(PATIENCE_S)
    eventually_now(lambda: pool.state is PoolState.CLOSED)


def test_cancelling_interrupts_a_call_that_runs(tmp_path):
    marks = [tmp_path / "began", tmp_path / "interrupted"]

    @gridloom.function
    def long(began, interrupted):
        try:
            began.touch()
            time.sleep(60)
        except KeyboardInterrupt:
            interrupted.touch()
            raise

    future = long.submit(*marks)
    eventually_now(marks[0].exists)
    assert future.cancel(grace="5s")
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()
    eventually_now(marks[1].exists)


def test_cancelling_reaches_a_call_whose_process_has_other_threads(tmp_path):
    @gridloom.function
    def beside_threads(began, interrupted):
        for _ in range(4):
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        try:
            began.touch()
            time.sleep(60)
        except KeyboardInterrupt:
            interrupted.touch()
            raise

    for number in range(10):
        marks = [tmp_path / f"began{number}", tmp_path / f"interrupted{number}"]
        future = beside_threads.submit(*marks)
        eventually_now(marks[0].exists)
        future.cancel(grace="30s")
        eventually_now(marks[1].exists)


@pytest.mark.parametrize("end", [lambda: os._exit(3), lambda: os.kill(os.getpid(), signal.SIGSEGV)])
def test_a_call_that_kills_its_workers_fails_for_good_and_others_go_on(client, end):
    lethal = client.submit(end)
    others = [square.submit(n) for n in range(100)]
    with pytest.raises(WorkerDiedError):
        lethal.result(PATIENCE_S)
    assert [f.result(PATIENCE_S) for f in others] == [n * n for n in range(100)]


def test_a_call_that_takes_more_memory_than_it_has_is_told_both():
    @gridloom.function(memory="200MiB")
    def swell():
        kept = []
        while True:
            kept.append(bytearray(8 << 20))
            time.sleep(0.01)

    with pytest.raises(OutOfMemoryError, match="ask for more with memory=") as caught:
        swell.submit().result(PATIENCE_S)
    assert 100 << 20 <= caught.value.limit_bytes < caught.value.peak_bytes


def test_what_cannot_be_pickled_is_named(client):
    with pytest.raises(UnpicklableError, match=r'args\[0\]\["lock"\]'):
        client.submit(len, {"lock": threading.Lock()})
    with pytest.raises(UnpicklableError, match="result"):
        client.submit(threading.Lock).result(PATIENCE_S)


def test_a_result_over_the_limit_is_refused_to_the_caller(tmp_path):
    with (
        running(tmp_path / "home", functions_payload_limit_bytes=2_000_000) as small,
        gridloom.connect(home=small.path) as client,
    ):
        with pytest.raises(PayloadTooLargeError, match="limit"):
            client.submit(bytes, 3_000_000).result(PATIENCE_S)
        with pytest.raises(PayloadTooLargeError, match="limit"):
            client.submit(len, bytes(3_000_000))
        assert client.submit(len, bytes(1000)).result(PATIENCE_S) == 1000


def test_large_arrays_go_and_come_through_objects(client):
    array = np.arange(1_000_000, dtype=float)
    doubled = client.submit(operator.mul, array, 2).result(PATIENCE_S)
    assert np.array_equal(doubled, array * 2)
    assert client.submit(np.sum, client.submit(np.ones, 500_000)).result(PATIENCE_S) == 500_000


def test_output_is_shown_and_kept_when_asked(client):
    heard = []
    loud = gridloom.function(print).options(output=heard.append)
    future = client.submit(loud, "one\ntwo")
    future.result(PATIENCE_S)
    assert list(future.logs()) == ["one", "two"]
    eventually_now(lambda: "".join(one.text for one in heard) == "one\ntwo\n")


# ---- the user's own modules


def test_modules_beside_the_script_travel_and_changes_are_seen(tmp_path, monkeypatch, client):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_helper.py").write_text("def factor():\n    return 2\n")
    (tmp_path / "own_model.py").write_text(
        "import own_helper\n\ndef scaled(x):\n    return own_helper.factor() * x\n"
    )
    module = importlib.import_module("own_model")
    assert client.submit(module.scaled, 4).result(PATIENCE_S) == 8
    (tmp_path / "own_helper.py").write_text("def factor():\n    return 30\n")
    with gridloom.connect(home=client.name) as later:
        assert later.submit(module.scaled, 4).result(PATIENCE_S) == 120


# ---- maps


def test_a_map_keeps_order_and_uses_all_workers(client):
    with client.pool(workers=2) as pool:
        found = list(pool.map(lambda n: (time.sleep(0.02), n, os.getpid()), range(60)))
    assert [n for _, n, _ in found] == list(range(60))
    assert len({pid for *_, pid in found}) == 2


@pytest.mark.slow
def test_a_large_map_of_short_items_needs_few_calls(client):
    outbox = client.calls.session.outbox

    def calls_needed():
        before = outbox.last
        assert list(square.map(range(20_000))) == [n * n for n in range(20_000)]
        return outbox.last - before

    # What an item takes is measured: where the machine stood still meanwhile, it seems long.
    eventually_now(lambda: calls_needed() <= 64)


def test_errors_of_items_are_theirs_alone():
    results = list(picky.map(range(40), return_exceptions=True))
    assert [n for n, one in enumerate(results) if isinstance(one, ValueError)] == list(
        range(3, 40, 4)
    )
    with pytest.raises(ValueError, match="not 3"):
        list(picky.map(range(40)))


def test_time_outs_and_retries_are_each_item_s_own():
    def sometimes(x):
        if x == 2:
            time.sleep(30)
        return x

    sleepy = gridloom.function(sometimes).options(timeout=0.5)
    results = list(sleepy.map(range(5), chunk_size=5, return_exceptions=True))
    assert isinstance(results[2], TimeLimitError)
    assert [results[n] for n in (0, 1, 3, 4)] == [0, 1, 3, 4]


def test_an_item_that_kills_its_worker_harms_no_other(client):
    def lethal(x):
        if x == 3:
            os._exit(1)
        return x

    results = list(client.map(lethal, range(8), chunk_size=8, return_exceptions=True))
    assert isinstance(results[3], WorkerDiedError)
    assert [results[n] for n in (0, 1, 2, 4, 5, 6, 7)] == [0, 1, 2, 4, 5, 6, 7]


def test_a_map_over_an_endless_generator_holds_a_window():
    taken = itertools.count()
    results = square.map(taken)
    assert list(itertools.islice(results, 3_000)) == [n * n for n in range(3_000)]
    results.close()
    assert next(taken) < 1_000_000


def test_no_more_than_max_parallel_items_run_at_once(tmp_path):
    def inside(n, folder):
        mark = folder / str(n)
        mark.touch()
        seen = len(list(folder.iterdir()))
        time.sleep(0.02)
        mark.unlink()
        return seen

    items = [(n, tmp_path) for n in range(30)]
    seen = list(gridloom.function(inside).starmap(items, max_parallel=1))
    assert set(seen) == {1}


def test_results_as_they_complete(tmp_path):
    def when_there(path, name):
        eventually_now(path.exists)
        return name

    go = tmp_path / "go"
    items = [(go, "late"), (tmp_path, "soon")]
    results = gridloom.function(when_there).starmap(items, order="completed", chunk_size=1)
    assert next(results) == "soon"
    go.touch()
    assert list(results) == ["late"]


def test_an_early_end_cancels_what_is_left(client):
    results = nap.map([0, *[20] * 50], chunk_size=1)
    assert next(results) is None
    group = results.group
    results.close()
    eventually_now(lambda: group.state.is_final)
    assert group.info.cancelled == 50
    assert square.submit(3).result(PATIENCE_S) == 9
    del client


def test_items_know_their_call_and_number(client):
    found = list(client.map(attempt_and_item, range(6), chunk_size=3))
    assert found == [(1, 0), (1, 1), (1, 2)] * 2


def test_map_reduce_folds_on_the_workers():
    assert square.map_reduce(range(3_000), reduce=operator.add, initial=0) == sum(
        n * n for n in range(3_000)
    )
    text = gridloom.function(str)
    assert text.map_reduce(range(200), reduce=operator.add) == "".join(map(str, range(200)))


# ---- workflows


def test_workflows_run_there_whole(client):
    chained = (add.s(1, 2) | square.s() | add.s(10)).submit()
    study = gridloom.chord([square.s(n) for n in range(50)], total.s()).submit()
    nested = gridloom.chain(square.s(2), gridloom.group(add.s(1), add.s(2)), total.s()).submit()
    chunks = add.chunks([(n, n) for n in range(10)], 4).submit()
    assert chained.result(PATIENCE_S) == 19
    assert study.result(PATIENCE_S) == sum(n * n for n in range(50))
    assert nested.result(PATIENCE_S) == 11
    assert chunks.result(PATIENCE_S) == [[0, 2, 4, 6], [8, 10, 12, 14], [16, 18]]
    assert client.get(study.id).result(PATIENCE_S) == study.result()
    chunks.wait(PATIENCE_S)
    assert chunks.state is CallState.SUCCEEDED
    assert [event.state for event in chunks.events()] == [CallState.QUEUED, CallState.SUCCEEDED]
    assert chunks.explain().message == f"{chunks.id} is SUCCEEDED: 3 of 3 items done"


def test_an_immutable_part_comes_after_what_is_before_it(tmp_path):
    mark = tmp_path / "mark"

    def touch():
        time.sleep(0.1)
        mark.touch()

    signature = gridloom.function(touch).s() | gridloom.function(mark.exists).si()
    assert signature.submit().result(PATIENCE_S) is True


def test_a_failure_in_a_workflow_is_the_failure_of_the_whole():
    with pytest.raises(ValueError, match="not 3"):
        gridloom.chord([picky.s(n) for n in range(5)], total.s()).submit().result(PATIENCE_S)


# ---- dependencies


def test_futures_are_arguments_wherever_they_stand(client):
    parts = [square.submit(n) for n in range(5)]
    assert total.submit(parts).result(PATIENCE_S) == 30
    assert client.submit(len, {"a": parts[0], "b": [parts[1]]}).result(PATIENCE_S) == 2
    assert list(square.map(parts)) == [n**4 for n in range(5)]


# ---- pools and executors


def test_a_pool_prepares_its_workers(client, tmp_path):
    def prepare(value):
        os.environ["PREPARED"] = value

    def prepared():
        (tmp_path / "begun").touch()
        while not (tmp_path / "gate").exists():
            time.sleep(0.01)
        return os.environ["PREPARED"]

    with client.pool(workers=2, initializer=prepare, initargs=("yes",)) as pool:
        future = pool.submit(prepared)
        eventually_now((tmp_path / "begun").exists)
        # Without a call its workers may leave at any time: other pools here may wait for room.
        assert pool.state is PoolState.RUNNING
        (tmp_path / "gate").touch()
        assert future.result(PATIENCE_S) == "yes"
    assert pool.state in {PoolState.CLOSING, PoolState.CLOSED}


@pytest.mark.parametrize("concurrency", ["threads", "asyncio"])
def test_pools_of_threads_and_event_loops_wait_side_by_side(client, concurrency):
    function = pause if concurrency == "asyncio" else nap
    with client.pool(workers=1, concurrency=concurrency) as pool:
        pool.submit(function, 0).result(PATIENCE_S)
        began = time.monotonic()
        results = list(pool.starmap(function, [(0.4, n) for n in range(20)], chunk_size=1))
        took = time.monotonic() - began
    assert results == list(range(20))
    assert took < 0.4 * 20 / 2


def test_async_functions_need_no_word_about_loops():
    assert pause.submit(0.01, "done").result(PATIENCE_S) == "done"
    assert list(pause.starmap([(0.01, n) for n in range(50)])) == list(range(50))


def test_a_broken_initialiser_is_told_to_whoever_calls(client):
    def fail():
        raise RuntimeError("no model")

    pool = client.pool(workers=1, initializer=fail)
    with pytest.raises(PoolBrokenError, match="no model") as caught:
        pool.submit(abs, 1).result(PATIENCE_S)
    assert isinstance(caught.value, concurrent.futures.BrokenExecutor)
    pool.close()


def test_the_executor_is_one_of_the_standard_library():
    with gridloom.Executor(workers=2) as executor:
        futures = [executor.submit(pow, 2, n) for n in range(20)]
        done, rest = concurrent.futures.wait(futures, timeout=PATIENCE_S)
        assert not rest
        assert {f.result() for f in done} == {2**n for n in range(20)}
        assert list(executor.map(pow, range(10), [2] * 10)) == [n * n for n in range(10)]


async def test_event_loops_run_in_the_executor():
    loop = asyncio.get_running_loop()
    with gridloom.Executor() as executor:
        results = await asyncio.gather(
            *(loop.run_in_executor(executor, pow, 2, n) for n in range(10))
        )
    assert results == [2**n for n in range(10)]


@pytest.mark.slow
def test_scikit_learn_searches_on_the_platform():
    importlib.import_module("gridloom.joblib")
    from sklearn.datasets import load_digits
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import SVC

    images, labels = load_digits(return_X_y=True)
    search = GridSearchCV(SVC(), {"C": [1, 10], "gamma": [0.001, 0.01]}, cv=3, n_jobs=-1)
    with joblib.parallel_config(backend="gridloom"):
        search.fit(images, labels)
        pids = joblib.Parallel(n_jobs=2)(joblib.delayed(os.getpid)() for _ in range(4))
    assert search.best_score_ > 0.95
    assert os.getpid() not in pids


# ---- the asyncio face


async def test_everything_can_be_awaited(home):
    async with await gridloom.aio.connect(home=home) as client:
        assert await client.submit(square, 7) == 49
        assert [n async for n in client.map(square, range(500))] == [n * n for n in range(500)]
        assert await asyncio.gather(*(square.submit(n) for n in range(50))) == [
            n * n for n in range(50)
        ]
        assert await client.map_reduce(square, range(100), reduce=operator.add) == 328350
        assert await gridloom.chord([square.s(n) for n in range(4)], total.s()).submit() == 14


async def test_calls_and_maps_tell_of_themselves_in_an_event_loop(home):
    async with await gridloom.aio.connect(home=home) as client:
        said = gridloom.function(print).options(capture_output=True, name="said")
        call = client.submit(said, "one\ntwo")
        await call
        assert [line async for line in call.logs(follow=True)][:2] == ["one", "two"]
        assert [event.state async for event in call.events()][-1] == await call.state
        assert "SUCCEEDED" in (await call.explain()).message
        results = client.map(said, ["a", "b"])
        await results.wait(PATIENCE_S)
        assert {"a", "b"} <= {line async for line in results.logs(follow=True)}
        assert [event async for event in results.events()]
        assert results.id in (await results.explain()).message


async def test_the_synchronous_face_works_inside_a_running_loop():
    assert square.submit(4).result(PATIENCE_S) == 16
    assert list(square.map(range(10))) == [n * n for n in range(10)]


async def test_a_task_that_is_cancelled_cancels_its_call():
    task = asyncio.ensure_future(asyncio.wait_for(nap.submit(60), 0.5))
    with pytest.raises(TimeoutError):
        await task


# ---- other processes


def script(body: str, home: Path) -> list[str]:
    """A program of its own whose functions live in `__main__`."""
    head = f"import gridloom, os, sys, time\nclient = gridloom.connect(home={str(home)!r})\n"
    return [sys.executable, "-c", head + textwrap.dedent(body)]


def test_functions_of_a_script_run_there(home):
    body = """
        OFFSET = 5

        class Point:
            def __init__(self, x):
                self.x = x

        @gridloom.function
        def shifted(point):
            return Point(point.x + OFFSET)

        print(shifted.submit(Point(2)).result().x)
    """
    done = subprocess.run(
        script(body, home), capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    assert done.stdout.strip() == "7"


def test_results_are_read_from_a_new_process_after_the_first_one_died(home, client, tmp_path):
    is_dead = tmp_path / "is_dead"
    body = f"""
        @gridloom.function
        def slow(x):
            time.sleep(0.05)
            return x * x

        @gridloom.function
        def later(x):  # whoever had the result would have it dropped
            while not os.path.exists({str(is_dead)!r}):
                time.sleep(0.01)
            return x * x

        results = slow.map(range(40), name="study")
        future = later.submit(9)
        assert client.calls.session.flush(30) and future.state
        next(results)
        while not results.group.info.sealed:
            time.sleep(0.01)
        print(results.group.id, future.id, flush=True)
        os.kill(os.getpid(), 9)
    """
    done = subprocess.run(
        script(body, home), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    is_dead.touch()
    group_id, call_id = done.stdout.split()
    group = client.get(group_id)
    assert isinstance(group, Group)
    assert list(group.results(timeout=PATIENCE_S)) == [n * n for n in range(40)]
    assert group.info.name == "study"
    assert client.get(call_id).result(PATIENCE_S) == 81


def test_what_a_program_submitted_before_it_ended_is_accepted(home, tmp_path, client):
    body = f"""
        import sys
        from pathlib import Path
        sys.setswitchinterval(5)  # the session's thread comes last
        print(client.submit(Path.touch, Path({str(tmp_path)!r}) / "mark").id)
    """
    subprocess.run(script(body, home), timeout=PATIENCE_S, check=True)
    eventually_now((tmp_path / "mark").exists)
    del client


def test_ctrl_c_leaves_a_map_running_and_says_how_to_come_back(home, client):
    body = """
        results = client.map(time.sleep, [0.1] * 20, chunk_size=1)
        print(results.group.id, flush=True)
        list(results)
    """
    with subprocess.Popen(
        script(body, home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        identifier = process.stdout.readline().strip()
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode != 0
    assert f'client.get("{identifier}")' in said
    assert client.get(identifier).wait(PATIENCE_S) is CallState.SUCCEEDED


@pytest.mark.parametrize("moment", ["take", "wait"])
def test_ctrl_c_between_two_waits_leaves_a_map_running_too(client, monkeypatch, capsys, moment):
    results = client.map(time.sleep, [0.05] * 20, chunk_size=1)
    identifier = results.group.id
    assert next(results) is None
    monkeypatch.setattr(results._run, moment, Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        list(results)
    del results
    assert f'client.get("{identifier}")' in capsys.readouterr().err
    assert client.get(identifier).wait(PATIENCE_S) is CallState.SUCCEEDED


def test_handles_are_pickled_and_opened_elsewhere(client):
    future = square.submit(6)
    future.result(PATIENCE_S)
    again = pickle.loads(pickle.dumps(future))
    assert again.id == future.id
    results = square.map(range(5))
    list(results)
    assert pickle.loads(pickle.dumps(results.group)).result(PATIENCE_S) == [0, 1, 4, 9, 16]
    assert client.submit(pickle.loads, pickle.dumps(3)).result(PATIENCE_S) == 3


def test_a_forked_process_calls_on_a_session_of_its_own():
    assert square.submit(2).result(PATIENCE_S) == 4
    waiting = nap.submit(0.3, "parent")
    assert waiting.state is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: threads and forks
        child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE_S)
        good = square.submit(5).result(PATIENCE_S) == 25
        os._exit(0 if good and waiting.result(PATIENCE_S) == "parent" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert waiting.result(PATIENCE_S) == "parent"


# ---- bad days of the platform


def test_a_platform_killed_amid_calls_finishes_each_of_them_once_for_the_client(tmp_path):
    delivered = []
    path = tmp_path / "home"
    with running(path) as first, gridloom.connect(home=path) as client:
        client.submit(square, 1).result(PATIENCE_S)
        futures = [client.submit(square, n) for n in range(3_000)]
        for future in futures:
            future.add_done_callback(delivered.append)
        results = client.map(nap, [0.001] * 200, chunk_size=5)
        os.kill(first.platform.running().pid, signal.SIGKILL)  # the SDK starts it again
        assert [f.result(PATIENCE_S) for f in futures] == [n * n for n in range(3_000)]
        assert list(results) == [None] * 200
        assert client.submit(square, 12).result(PATIENCE_S) == 144
    assert len(delivered) == 3_000


def test_misspelt_words_are_refused_before_anything_is_sent(client):
    with pytest.raises(InvalidRequestError, match='did you mean "cpus"'):
        square.options(cpu=2)
    with pytest.raises(InvalidRequestError, match='did you mean "chunk_size"'):
        client.map(square, [1], chunksize=2)


@pytest.fixture
def closed_queue(client):
    client.create_queue("shut", closed=True)
    yield
    client.delete_queue("shut")


@pytest.mark.parametrize(
    "words",
    [
        {"cpus": 1000},
        {"memory": "10PB"},
        {"gpus": 1},
        {"queue": "gpuu"},
        {"queue": "shut"},
        {"project": "nowhere"},
        {"env": {"A=B": "1"}},
    ],
    ids=str,
)
@pytest.mark.usefixtures("closed_queue")
def test_what_only_the_platform_can_judge_is_refused_as_for_a_command(client, words):
    with pytest.raises(InvalidRequestError) as command:
        client.run(["true"], **words)
    asked_by = (
        lambda: square.options(**words).submit(2).result(PATIENCE_S),
        lambda: list(square.options(**words).map([1, 2])),
        lambda: client.pool(**words),
    )
    for ask in asked_by:
        with pytest.raises(InvalidRequestError) as refused:
            ask()
        assert str(refused.value).replace('"worker"', '"main"') == str(command.value)
        assert refused.value.details == command.value.details


def test_what_was_refused_before_is_accepted_when_it_can_be(client):
    late = square.options(queue="late")
    with pytest.raises(InvalidRequestError, match='"late" does not exist'):
        late.submit(3).result(PATIENCE_S)
    client.create_queue("late")
    assert late.submit(3).result(PATIENCE_S) == 9
    assert list(late.map([2, 4])) == [4, 16]


def test_a_cancelled_group_says_so(client):
    results = client.map(nap, [30] * 10, chunk_size=1)
    assert client.get(results.group.id).cancel(grace=1) == 10
    with pytest.raises(CancelledError):
        list(results)
