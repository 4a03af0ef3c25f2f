"""Maps against the scripted service."""

from __future__ import annotations

import asyncio
import gc
import itertools
import pickle
import signal
import threading
import time

import gridloom
import pytest
from gridloom.calls.options import CALL_WORDS
from gridloom.calls.session import Session
from gridloom.calls.states import CallState
from gridloom.errors import (
    CancelledError,
    InvalidRequestError,
    UnavailableError,
    UnpicklableError,
)


@gridloom.function
def square(x):
    return x * x


@gridloom.function
def picky(x):
    if x % 5 == 3:
        raise ValueError(x)
    return x


@gridloom.function
def add(a, b, scale=1):
    return (a + b) * scale


@gridloom.function
def late_first(x):
    time.sleep(0.15 if x == 0 else 0)
    return x


pytestmark = pytest.mark.usefixtures("client")


def test_results_come_in_the_order_of_the_items():
    assert list(square.map(range(50))) == [n * n for n in range(50)]


def test_loops_that_are_left_and_next_share_the_results():
    results = square.map(range(101))
    taken = [next(results)]
    for value in results:
        taken.append(value)
        if len(taken) == 10:
            break
    taken.append(next(results))
    taken += [value for pair in zip(results, results, strict=False) for value in pair]
    taken += results
    assert sorted(taken) == [n * n for n in range(101)]
    assert list(results) == []


def test_a_later_map_of_a_short_function_needs_few_calls(service, client):
    list(square.map(range(2000)))
    before = service.session().last
    client.calls.session.item_times[next(iter(client.calls.session.item_times))] = 1e-6
    assert list(square.map(range(10_000))) == [n * n for n in range(10_000)]
    workers = square.route(client.calls).workers
    assert service.session().last - before == 4 * workers


def test_several_iterables_go_in_step():
    assert list(add.map([1, 2, 3], [10, 20, 30], kwargs={"scale": 2})) == [22, 44, 66]


def test_starmap_spreads_each_tuple():
    assert list(add.starmap([(1, 2), (3, 4)])) == [3, 7]


def test_results_come_as_they_complete_when_asked():
    results = list(late_first.map(range(4), order="completed", chunk_size=1))
    assert sorted(results) == [0, 1, 2, 3]
    assert results[-1] == 0


def test_an_item_s_error_is_raised_where_it_stands():
    results = picky.map(range(10))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="3"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_errors_are_results_when_asked():
    results = list(picky.map(range(10), return_exceptions=True))
    assert [type(one) for one in results].count(ValueError) == 2
    assert [one for one in results if not isinstance(one, ValueError)] == [0, 1, 2, 4, 5, 6, 7, 9]


def test_chunks_may_come_back_in_parts(service):
    service.script.part = 3
    assert list(square.map(range(40), chunk_size=10)) == [n * n for n in range(40)]


def test_parts_said_twice_are_delivered_once(service):
    service.script.part, service.script.twice = 2, True
    assert list(picky.map(range(20), chunk_size=5, return_exceptions=True))[:3] == [0, 1, 2]


def test_an_endless_source_begins_at_once_and_is_taken_as_needed(service):
    taken = itertools.count()
    results = square.map(taken)
    assert [next(results) for _ in range(100)] == [n * n for n in range(100)]
    results.close()
    assert next(taken) < 500_000


def test_the_source_s_own_error_comes_after_the_results_before_it():
    def source():
        yield from range(3)
        raise OSError("source")

    results = square.map(source())
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    with pytest.raises(OSError, match="source"):
        next(results)


def test_a_map_over_nothing_has_no_results():
    assert list(square.map([])) == []
    assert list(square.map(iter(()))) == []


def test_the_handle_of_a_map_over_nothing_is_one_of_a_group_that_exists():
    # Its group is said on the session's stream and asked for on another way.
    states = {square.map([]).group.wait(30) for _ in range(100)}
    assert states == {CallState.SUCCEEDED}


def test_an_argument_that_cannot_be_pickled_fails_its_item_only():
    items = [1, threading.Lock(), 3]
    results = square.map(items, return_exceptions=True, chunk_size=3)
    first, second, third = results
    assert (first, third) == (1, 9)
    assert isinstance(second, UnpicklableError)
    assert str(second).startswith("item 1: args[0]: ")


def test_futures_among_the_items_are_waited_for_there():
    futures = [square.submit(n) for n in range(6)]
    assert list(square.map(futures)) == [n**4 for n in range(6)]


def test_one_failed_future_among_the_items_fails_its_item_only():
    futures = [picky.submit(n) for n in (1, 3, 4)]
    results = list(square.map(futures, return_exceptions=True, chunk_size=3))
    assert (results[0], results[2]) == (1, 16)
    assert isinstance(results[1], ValueError)


def test_closing_early_cancels_what_is_left(service):
    service.hold()
    results = square.map(range(100), chunk_size=5)
    service.wait_for(lambda: service.session().last == 20)
    results.close()
    service.wait_for(lambda: all(c.cancelled for c in service.session().calls.values()))
    assert list(results) == []


def test_letting_go_of_a_map_that_was_begun_cancels_what_is_left(service):
    for result in square.map(itertools.count(), chunk_size=2):
        service.hold()
        assert result == 0
        break
    gc.collect()
    service.wait_for(lambda: any(c.cancelled for c in service.session().calls.values()))


def test_letting_go_of_a_map_that_was_never_read_lets_it_run(service):
    square.map(range(500))
    gc.collect()
    service.wait_for(lambda: service.session().sealed)
    (number,) = service.session().sealed
    assert service.session().group_items[number] == 500
    service.wait_for(lambda: all(c.done for c in service.session().calls.values()))
    assert not any(c.cancelled for c in service.session().calls.values())


def test_a_cancelled_map_raises_at_what_was_cancelled(service):
    service.hold()
    results = square.map(range(10), chunk_size=2)
    service.wait_for(lambda: service.session().last == 5)
    results.cancel()
    with pytest.raises(CancelledError):
        next(results)
    service.running.set()


def test_a_group_is_sealed_when_its_last_item_is_sent(service):
    results = square.map(range(5))
    assert list(results) == [0, 1, 4, 9, 16]
    service.wait_for(lambda: service.session().sealed)


def test_a_broken_stream_in_the_middle_changes_nothing(service):
    service.script.break_after = [4, 9, 15]
    assert list(square.map(range(200), chunk_size=10)) == [n * n for n in range(200)]


def test_a_session_that_fails_ends_the_map(service):
    client = gridloom.connect(service.address, timeout=0.3)
    results = client.map(square, itertools.count())
    assert next(results) == 0
    service.stop()
    with pytest.raises(UnavailableError):
        list(results)
    client.close()


def test_what_is_known_of_a_map_is_shown():
    results = square.map(range(7))
    list(results)
    assert repr(results).endswith("square 7/7>")
    assert len(results) == 7
    with pytest.raises(TypeError):
        len(square.map(iter([])))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ordr": "input"}, 'did you mean "order"'),
        ({"order": "inputs"}, 'did you mean "input"'),
        ({"chunk_size": 0}, "chunk_size"),
        ({"retris": 3}, 'did you mean "retries"'),
    ],
)
def test_wrong_options_are_refused_with_the_nearest_valid_one(options, message):
    with pytest.raises(InvalidRequestError, match=message):
        square.map([1], **options)


def test_a_map_takes_the_options_of_calls(service):
    list(square.map([1], timeout="5s", retries=2, max_parallel=3))
    (spec,) = service.session().specs.values()
    assert (spec.timeout_ms, spec.retries.error, spec.max_parallel) == (5000, 2, 3)
    assert {"order", "progress"}.isdisjoint(CALL_WORDS)


def test_map_needs_something_to_map_over():
    with pytest.raises(TypeError, match="at least one"):
        square.map()


def interrupt_soon() -> threading.Timer:
    main = threading.main_thread().ident
    timer = threading.Timer(0.1, signal.pthread_kill, [main, signal.SIGINT])
    timer.start()
    return timer


def test_an_interrupt_leaves_the_map_running_and_says_how_to_come_back(service, client, capsys):
    service.hold()
    results = square.map(range(10), chunk_size=5)
    identifier = results.id
    interrupt_soon()
    with pytest.raises(KeyboardInterrupt):
        next(results)
    assert f'client.get("{identifier}")' in capsys.readouterr().err
    del results
    gc.collect()
    service.running.set()
    assert client.get(identifier).result(10) == [n * n for n in range(10)]


def test_an_interrupt_leaves_a_reduction_running(service, capsys):
    service.hold()
    interrupt_soon()
    with pytest.raises(KeyboardInterrupt):
        square.map_reduce(range(10), reduce=max)
    assert capsys.readouterr().err.count("client.get") == 1
    service.running.set()


async def test_async_for_gives_the_same_results():
    assert [n async for n in square.map(range(300))] == [n * n for n in range(300)]


async def test_async_for_over_an_endless_source_holds_a_window():
    results = square.map(itertools.count())
    found = []
    async for one in results:
        found.append(one)
        if len(found) == 50:
            break
    await results.aclose()
    assert found == [n * n for n in range(50)]


async def test_async_maps_run_side_by_side_in_one_loop():
    async def total(first):
        return sum([n async for n in square.map(range(first, first + 50))])

    totals = await asyncio.gather(*(total(first) for first in range(0, 200, 50)))
    assert sum(totals) == sum(n * n for n in range(200))


async def test_async_errors_are_raised_where_they_stand():
    results = picky.map(range(10))
    assert [await anext(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="3"):
        await anext(results)


def test_a_map_reads_in_the_background_of_other_work(client):
    assert isinstance(client.calls.session, Session)
    first, second = square.map(range(100)), square.map(range(100))
    assert list(zip(first, second, strict=True)) == [(n * n, n * n) for n in range(100)]


def test_a_call_that_was_never_sent_can_be_named_and_shown(service):
    failed = picky.submit(3)
    error = failed.exception(10)
    assert error is not None
    unsent = square.submit(failed)
    assert type(unsent.exception(10)) is type(error)
    assert unsent.number == 0
    assert repr(unsent).startswith(f"<CallFuture {unsent.id} ")
    again = pickle.loads(pickle.dumps(unsent))
    assert (again.id, type(again.exception(10))) == (unsent.id, type(error))
    assert [event.state for event in again.events()] == [CallState.QUEUED, CallState.FAILED]
    assert str(error) in again.explain().message
