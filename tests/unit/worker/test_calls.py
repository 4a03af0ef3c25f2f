"""Calls in a real worker process: what they return, raise, change, print and wait for."""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
import time

import gridloom
import numpy as np
import pytest
from gridloom.api.functions.v1 import call_pb2, worker_pb2
from gridloom.errors import (
    CancelledError,
    RemoteError,
    RemoteTraceback,
    TimeLimitError,
    UnpicklableError,
)
from gridloom.items import ARGUMENTS, CALL, VALUE, Form
from gridloom.worker.context import waiting

from tests.unit.worker.pool_service import GIVEN_BACK, HostProcess, running_service


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with running_service(tmp_path_factory.mktemp("service") / "functions.sock") as running:
        yield running


@pytest.fixture(scope="module")
def worker(service, tmp_path_factory):
    """One worker for all tests here: each must find it as good as new."""
    host = HostProcess(tmp_path_factory.mktemp("host"), service)
    yield service.worker()
    host.close()


def double(x):
    return 2 * x


def fail(message):
    raise ValueError(message)


# ---- values and errors


def test_a_call_returns_its_value(service, worker):
    assert service.call(worker, double, 21) == 42


def test_the_units_of_a_batch_are_counted_through_its_runs(service, worker):
    batch = service.batch(
        service.calls(double, (1,), (2,)),
        service.chunk(double, range(3)),
        service.calls(fail, ("x",)),
    )
    found = service.outcomes(worker, batch)
    assert found[0, 0] == 2
    assert found[1, 0] == 4
    assert [found[2, item] for item in range(3)] == [0, 2, 4]
    assert isinstance(found[3, 0], ValueError)


@pytest.mark.parametrize("timeout_ms", [0, 60_000])
@pytest.mark.parametrize(
    ("form", "own"),
    [
        (Form(VALUE, (7,), {"c": 9}), [1, 2, 3]),
        (Form(ARGUMENTS, (7,), {"c": 9}), [(1,), (2,), (3,)]),
        (Form(CALL), [((7, 1), {"c": 9}), ((7,), {"b": 2, "c": 9}), ((7, 3, 9), {})]),
    ],
)
def test_items_have_their_own_arguments_and_those_of_all(service, worker, form, own, timeout_ms):
    run = service.chunk(lambda a, b, c: (a, b, c), own, form=form, timeout_ms=timeout_ms)
    found = service.outcomes(worker, service.batch(run))
    assert found == {(0, 0): (7, 1, 9), (0, 1): (7, 2, 9), (0, 2): (7, 3, 9)}


def test_a_part_of_a_chunk_runs_only_its_items(service, worker):
    batch = service.batch(service.chunk(double, range(100), first=40, count=3))
    assert service.outcomes(worker, batch) == {(0, 40): 80, (0, 41): 82, (0, 42): 84}


def test_a_long_chunk_comes_back_whole_and_in_order(service, worker):
    batch = service.batch(service.chunk(double, range(50_000)))
    found = service.outcomes(worker, batch)
    assert [found[0, item] for item in range(50_000)] == [2 * x for x in range(50_000)]


def test_slow_items_of_a_chunk_are_answered_one_by_one(service, worker):
    batch = service.batch(service.chunk(lambda x: time.sleep(0.05) or x, range(4)))
    worker.send(batch=batch)
    first = worker.take("results")
    assert not first.last
    assert first.runs[0].ranges[0] == call_pb2.ItemRange(first=0, count=1)
    service.collect(worker, batch)


def test_an_item_that_fails_leaves_the_others_alone(service, worker):
    batch = service.batch(service.chunk(lambda x: 10 // x, [1, 0, 5]))
    found = service.outcomes(worker, batch)
    assert found[0, 0] == 10
    assert isinstance(found[0, 1], ZeroDivisionError)
    assert found[0, 2] == 2


def test_an_exception_comes_back_as_itself_with_where_it_was_raised(service, worker):
    error = service.call(worker, fail, "no luck")
    assert type(error) is ValueError
    assert error.args == ("no luck",)
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "raise ValueError(message)" in str(error.__cause__)
    assert "gridloom/worker" not in str(error.__cause__)


def test_the_cause_of_an_exception_comes_along(service, worker):
    def nested():
        try:
            {}["key"]
        except KeyError as error:
            raise RuntimeError("outer") from error

    error = service.call(worker, nested)
    assert type(error) is RuntimeError
    assert type(error.__cause__.__cause__) is KeyError


def test_an_exception_that_cannot_be_rebuilt_comes_back_by_name(service, worker):
    def stubborn():
        class StubbornError(Exception):
            def __init__(self, one, two):
                super().__init__(f"{one} and {two}")

        raise StubbornError("this", "that")

    error = service.call(worker, stubborn)
    assert type(error) is RemoteError
    assert "this and that" in str(error)
    assert error.type.endswith("StubbornError")
    assert "raise StubbornError" in str(error.__cause__)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_an_exit_is_an_error_like_any_other_and_the_worker_lives(service, worker, kind):
    def leave():
        raise kind(3)

    assert type(service.call(worker, leave)) is kind
    assert service.call(worker, double, 1) == 2


def test_an_unpicklable_result_is_named_by_its_path(service, worker):
    error = service.call(worker, lambda: {"model": [threading.Lock()]})
    assert type(error) is UnpicklableError
    assert error.path == 'result["model"][0]'


def test_an_unpicklable_item_leaves_the_others_alone(service, worker):
    batch = service.batch(service.chunk(lambda x: threading.Lock() if x == 1 else x, range(3)))
    found = service.outcomes(worker, batch)
    assert found[0, 0] == 0
    assert type(found[0, 1]) is UnpicklableError
    assert found[0, 2] == 2


def test_a_function_that_cannot_be_opened_says_why(service, worker):
    broken = functools.partial(_load_missing)
    definition, run = service.calls(broken, ())
    batch = service.batch((definition, run), service.calls(double, (1,)))
    found = service.outcomes(worker, batch)
    assert type(found[0, 0]) is ModuleNotFoundError
    assert "could not be opened on the worker" in str(found[0, 0].__cause__)
    assert found[1, 0] == 2


class _Missing:
    def __reduce__(self):
        return __import__, ("a_module_that_is_nowhere",)


def _load_missing(missing=_Missing()):  # noqa: B008
    return missing


def test_arrays_travel(service, worker):
    found = service.call(worker, lambda a: a.sum(axis=0), np.ones((10, 3)))
    assert found.tolist() == [10.0, 10.0, 10.0]


def test_coroutine_functions_run_to_their_end(service, worker):
    async def later(x):
        import asyncio

        await asyncio.sleep(0)
        return x + 1

    found = service.outcomes(worker, service.batch(service.chunk(later, range(3))))
    assert list(found.values()) == [1, 2, 3]


def test_results_that_were_waited_for_take_their_places(service, worker):
    class Waited(service_pending()):
        pass

    definition, run = service.calls(lambda a, b: (a, b))
    encoded = service.codec.encode_arguments((Waited(), Waited()), {})
    run.arguments.append(encoded.data)
    values = [service.codec.encode_values([1, 2]).data, service.codec.encode_values([3]).data]
    run.inputs.add(
        position=0,
        inputs=[
            worker_pb2.UnitInput(parts=[service.codec.encode_value("one").data]),
            worker_pb2.UnitInput(parts=values, chunked=True),
        ],
    )
    found = service.outcomes(worker, service.batch((definition, run)))
    assert found[0, 0] == ("one", [1, 2, 3])


def service_pending():
    from gridloom.payload import Pending

    return Pending


def test_a_call_knows_which_one_it_is(service, worker):
    def who(_):
        call = gridloom.current_call()
        return call.id, call.item, call.attempt, call.function, call.worker_id

    found = service.outcomes(worker, service.batch(service.chunk(who, range(2))))
    assert found[0, 1] == ("call_abcdefghij234567_1", 1, 1, "who", worker.hello.worker_id)
    assert gridloom.current_call() is None


# ---- what a call changes


def test_what_a_call_changes_is_as_before_for_the_next(service, worker, tmp_path):
    def change(folder):
        os.chdir(folder)
        os.environ["GRIDLOOM_TEST_LEFTOVER"] = "1"
        sys.setrecursionlimit(77_777)
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 100)

    def state():
        return (
            os.getcwd(),  # noqa: PTH109
            os.environ.get("GRIDLOOM_TEST_LEFTOVER"),
            sys.getrecursionlimit(),
            sys.stdout is sys.__stdout__,
            signal.getsignal(signal.SIGTERM),
            signal.getsignal(signal.SIGALRM),
            signal.getitimer(signal.ITIMER_REAL)[0],
        )

    before = service.call(worker, state)
    batch = service.batch(service.calls(change, (str(tmp_path),)), service.calls(state, ()))
    assert service.outcomes(worker, batch)[1, 0][:-1] == before[:-1]
    assert service.call(worker, state) == before


def test_a_removed_working_folder_does_no_harm(service, worker, tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()

    def leave(path):
        os.chdir(path)
        os.rmdir(path)  # noqa: PTH106

    before = service.call(worker, os.getcwd)
    assert service.call(worker, leave, str(folder)) is None
    assert service.call(worker, os.getcwd) == before


def test_a_call_that_forks_is_answered_once(service, worker):
    def fork():
        return os.fork() == 0

    batch = service.batch(service.calls(fork, (), ()), service.calls(double, (4,)))
    found = service.outcomes(worker, batch)
    assert found == {(0, 0): False, (1, 0): False, (2, 0): 8}
    assert service.call(worker, double, 1) == 2
    assert not worker.seen("results")


def test_a_child_that_an_item_has_forked_runs_no_other_item(service, worker, tmp_path):
    def fork_once(work):
        number, path = work
        if number == 0 and os.fork() == 0:
            time.sleep(0.1)
        with open(path, "a") as file:  # noqa: PTH123
            file.write(f"{number}\n")
        return number

    path = tmp_path / "runs"
    run = service.chunk(fork_once, [(number, str(path)) for number in range(20)])
    found = service.outcomes(worker, service.batch(run))
    assert [found[0, item] for item in range(20)] == list(range(20))
    time.sleep(0.3)
    assert sorted(map(int, path.read_text().split())) == [0, *range(20)]


def test_multiprocessing_works_within_a_call(service, worker):
    def spread():
        import multiprocessing

        with multiprocessing.get_context("fork").Pool(2) as pool:
            return pool.map(abs, [-1, -2, -3])

    assert service.call(worker, spread) == [1, 2, 3]


# ---- time


def test_a_call_past_its_timeout_is_interrupted_and_the_worker_lives(service, worker):
    error = service.call(worker, time.sleep, 60, timeout_ms=150)
    assert type(error) is TimeLimitError
    assert error.call_status == "CALL_STATUS_TIMEOUT"
    assert "0.15 s" in str(error)
    assert service.call(worker, double, 1) == 2


def test_a_timeout_amid_an_import_leaves_no_half_of_a_module(service, worker, tmp_path):
    package = tmp_path / "slowly_imported"
    package.mkdir()
    (package / "part.py").write_text("VALUE = 7\n")
    body = "from .part import *\nimport time\ntime.sleep(0.4)\nVALUE = part.VALUE\n"
    (package / "__init__.py").write_text(body)

    def use(folder, seconds):
        import sys

        sys.path.insert(0, folder)
        import slowly_imported

        time.sleep(seconds)
        return slowly_imported.VALUE

    error = service.call(worker, use, str(tmp_path), 60, timeout_ms=100)
    assert type(error) is TimeLimitError
    assert service.call(worker, use, str(tmp_path), 0) == 7


def test_each_item_of_a_chunk_has_the_timeout_for_itself(service, worker):
    def nap(seconds):
        time.sleep(seconds)
        return seconds

    run = service.chunk(nap, [0.15, 60, 0.15, 0.01], timeout_ms=400)
    found = service.outcomes(worker, service.batch(run))
    assert found[0, 0] == found[0, 2] == 0.15
    assert type(found[0, 1]) is TimeLimitError
    assert found[0, 3] == 0.01


def test_a_call_that_swallows_its_timeout_has_timed_out_all_the_same(service, worker):
    def stubborn():
        try:
            time.sleep(60)
        except TimeoutError:
            return "done"

    assert type(service.call(worker, stubborn, timeout_ms=100)) is TimeLimitError


def test_an_item_that_swallows_its_timeout_leaves_the_others_alone(service, worker):
    def stubborn(seconds):
        try:
            time.sleep(seconds)
        except TimeoutError:
            return "done"
        return seconds

    run = service.chunk(stubborn, [0, 0, 0, 60, 0, 0], timeout_ms=100)
    found = service.outcomes(worker, service.batch(run))
    assert type(found.pop((0, 3))) is TimeLimitError
    assert set(found.values()) == {0}


def test_what_an_item_that_swallowed_its_timeout_gave_is_not_sent_with_the_results_of_others(
    service, worker
):
    def stubborn(seconds):
        try:
            time.sleep(abs(seconds))
        except TimeoutError:
            return "done"
        if seconds < 0:  # as when the host wants to see what is finished
            signal.raise_signal(signal.SIGRTMIN + 9)
        return seconds

    run = service.chunk(stubborn, [0, 0, 0, 60, -0.001, 0, 0], timeout_ms=100)
    found = service.outcomes(worker, service.batch(run))
    assert type(found.pop((0, 3))) is TimeLimitError
    assert found.pop((0, 4)) == -0.001
    assert set(found.values()) == {0}


def test_several_items_in_a_row_may_swallow_their_timeouts(service, worker):
    def stubborn(seconds):
        try:
            time.sleep(seconds)
        except TimeoutError:
            return "done"
        return seconds

    run = service.chunk(stubborn, [0, 0, 0, 60, 60, 0, 60, 0], timeout_ms=50)
    found = service.outcomes(worker, service.batch(run))
    late = {item for (_, item), value in found.items() if type(value) is TimeLimitError}
    assert late == {3, 4, 6}
    assert [found[0, item] for item in (0, 1, 2, 5, 7)] == [0] * 5


def test_an_item_that_fails_after_one_that_swallowed_its_timeout_runs_once(
    service, worker, tmp_path
):
    def stubborn(work):
        seconds, path = work
        if path:
            with open(path, "a") as file:  # noqa: PTH123
                file.write("ran\n")
            raise ValueError("no")
        try:
            time.sleep(seconds)
        except TimeoutError:
            return "done"
        return seconds

    path = tmp_path / "runs"
    run = service.chunk(stubborn, [(0, "")] * 6 + [(60, ""), (0, str(path))], timeout_ms=100)
    found = service.outcomes(worker, service.batch(run))
    assert type(found[0, 6]) is TimeLimitError
    assert type(found[0, 7]) is ValueError
    assert path.read_text() == "ran\n"


def test_opening_the_function_does_not_count_towards_the_timeout(service, worker):
    class SlowToOpen:
        def __reduce__(self):
            return _slowly, ()

    def use(slow):
        return slow

    slow = functools.partial(use, SlowToOpen())
    assert service.call(worker, slow, timeout_ms=300) == "opened"


def _slowly():
    import time

    time.sleep(0.6)
    return "opened"


# ---- cancelling


def test_a_unit_that_has_not_begun_is_left_out(service, worker):
    batch = service.batch(service.calls(time.sleep, (0.3,)), service.calls(double, (1,), (2,)))
    worker.send(batch=batch)
    worker.send(cancel=worker_pb2.UnitCancel(batch=batch.number, unit=1))
    found = service.collect(worker, batch)
    assert found[0, 0] is None
    assert type(found[1, 0]) is CancelledError
    assert found[2, 0] == 4


def test_a_running_call_is_interrupted_by_its_cancel(service, worker):
    batch = service.batch(service.calls(time.sleep, (60,)))
    worker.send(batch=batch)
    time.sleep(0.1)
    cancel = worker_pb2.UnitCancel(batch=batch.number, unit=0, running=True, grace_ms=5000)
    worker.send(cancel=cancel)
    found = service.collect(worker, batch)
    assert type(found[0, 0]) is CancelledError
    assert service.call(worker, double, 1) == 2


def test_items_of_a_chunk_are_cancelled_singly(service, worker):
    batch = service.batch(service.chunk(lambda x: time.sleep(0.1) or x, range(6)))
    worker.send(batch=batch)
    ranges = [call_pb2.ItemRange(first=3, count=2)]
    worker.send(cancel=worker_pb2.UnitCancel(batch=batch.number, unit=0, ranges=ranges))
    found = service.collect(worker, batch)
    assert [found[0, item] for item in (0, 1, 2, 5)] == [0, 1, 2, 5]
    assert {type(found[0, item]) for item in (3, 4)} == {CancelledError}


def test_items_cancelled_behind_quick_ones_are_left_out(service, worker):
    def work(x):
        time.sleep(0.4 if x == 0 else 0)
        return x

    batch = service.batch(service.chunk(work, range(2000)))
    worker.send(batch=batch)
    time.sleep(0.1)
    ranges = [call_pb2.ItemRange(first=500, count=3), call_pb2.ItemRange(first=1990, count=10)]
    worker.send(cancel=worker_pb2.UnitCancel(batch=batch.number, unit=0, ranges=ranges))
    found = service.collect(worker, batch)
    cancelled = [item for item in range(2000) if isinstance(found[0, item], CancelledError)]
    assert cancelled == [500, 501, 502, *range(1990, 2000)]


def test_a_cancel_that_does_not_mean_the_running_ones_lets_them_end(service, worker):
    batch = service.batch(service.calls(lambda: time.sleep(0.3) or "ended", ()))
    worker.send(batch=batch)
    time.sleep(0.1)
    worker.send(cancel=worker_pb2.UnitCancel(batch=batch.number, unit=0))
    assert service.collect(worker, batch)[0, 0] == "ended"


def test_a_batch_cancelled_while_it_waits_behind_another_is_not_run(service, worker, tmp_path):
    first = service.batch(service.calls(time.sleep, (0.3,)))
    second = service.batch(service.calls((tmp_path / "ran").touch, ()))
    worker.send(batch=first)
    time.sleep(0.1)
    worker.send(batch=second)
    worker.send(cancel=worker_pb2.UnitCancel(batch=second.number, unit=0))
    assert service.collect(worker, first)[0, 0] is None
    assert type(service.collect(worker, second)[0, 0]) is CancelledError
    assert not (tmp_path / "ran").exists()


# ---- waiting for others


def _wait_for(path):
    from gridloom.worker.context import waiting

    with waiting():
        while not os.path.exists(path):  # noqa: PTH110
            time.sleep(0.01)
    return "waited"


def test_a_call_that_waits_gives_back_what_lies_behind_it(service, worker, tmp_path):
    path = tmp_path / "go"
    batch = service.batch(service.calls(_wait_for, (str(path),)), service.calls(double, (1,), (2,)))
    worker.send(batch=batch)
    blocked = worker.take("blocked")
    assert (blocked.batch, blocked.unit, blocked.blocked) == (batch.number, 0, True)
    later = service.batch(service.calls(double, (3,)))
    assert service.outcomes(worker, later) == {(0, 0): GIVEN_BACK}
    path.touch()
    assert not worker.take("blocked").blocked
    found = service.collect(worker, batch)
    assert found == {(0, 0): "waited", (1, 0): GIVEN_BACK, (2, 0): GIVEN_BACK}


def test_waiting_outside_of_a_call_is_nothing():
    with waiting():
        pass


# ---- output


def _speak(times):
    print("from python")
    os.write(1, b"from below\n")
    os.system("echo from a program; echo an error >&2")
    return times


def _printed(worker):
    """What was captured since the last time, by stream."""
    printed = {}
    for each in worker.seen("output"):
        printed[each.stream] = printed.get(each.stream, b"") + each.data
    return printed


def test_what_a_call_prints_is_caught_below_python(service, worker):
    assert service.call(worker, _speak, 1, capture_output=True) == 1
    expected = {1: b"from python\nfrom below\nfrom a program\n", 2: b"an error\n"}
    assert _printed(worker) == expected


def test_output_belongs_to_its_item(service, worker):
    batch = service.batch(service.chunk(print, "abc", capture_output=True))
    service.outcomes(worker, batch)
    assert [(each.item, each.data) for each in worker.seen("output")] == [
        (0, b"a\n"),
        (1, b"b\n"),
        (2, b"c\n"),
    ]


def test_output_comes_before_the_call_has_ended(service, worker, tmp_path):
    path = tmp_path / "go"

    def speak_and_wait(where):
        print("already", flush=True)
        while not os.path.exists(where):  # noqa: PTH110
            time.sleep(0.01)

    batch = service.batch(service.calls(speak_and_wait, (str(path),), capture_output=True))
    worker.send(batch=batch)
    assert worker.take("output").data == b"already\n"
    path.touch()
    assert service.collect(worker, batch)[0, 0] is None


def test_a_gigabyte_of_output_is_cut_with_a_note(service, worker):
    def shout():
        block = b"x" * (1 << 20)
        for _ in range(1024):
            os.write(1, block)

    assert service.call(worker, shout, capture_output=True) is None
    printed = _printed(worker)[1]
    assert len(printed) < 2 << 20
    assert printed.endswith(b"1,073,741,824 bytes were printed, 1,048,576 are kept]\n")


# ---- the link


def test_a_finished_result_does_not_wait_for_a_long_call_behind_it(service, worker, tmp_path):
    path = tmp_path / "go"
    batch = service.batch(service.calls(double, (1,)), service.calls(_wait_quietly, (str(path),)))
    worker.send(batch=batch)
    first = worker.take("results")
    assert service.codec.decode(first.runs[0].values[0]) == 2
    path.touch()
    service.collect(worker, batch)


def _wait_quietly(path):
    while not os.path.exists(path):  # noqa: PTH110
        time.sleep(0.01)


def test_an_isolated_run_is_answered_call_by_call(service, worker):
    batch = service.batch(service.calls(double, (1,), (2,), (3,), isolated=True))
    worker.send(batch=batch)
    assert [len(worker.take("results").runs) for _ in range(4)] == [1, 1, 1, 0]
