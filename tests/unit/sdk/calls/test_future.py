"""Futures as the standard library, event loops and pickle meet them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import pickle
import sys
import threading

import pytest
from gridloom.api.functions.v1 import call_pb2
from gridloom.calls.future import CallFuture
from gridloom.calls.states import CallState
from gridloom.errors import (
    CancelledError,
    NotFoundError,
    RemoteTraceback,
    exception_from_call_error,
)
from gridloom.payload import PayloadCodec

OK = call_pb2.CALL_STATUS_OK
ERROR = call_pb2.CALL_STATUS_ERROR
CANCELLED = call_pb2.CALL_STATUS_CANCELLED


class Source:
    """A session as futures see it."""

    name = "a" * 16

    def __init__(self) -> None:
        self.codec = PayloadCodec()
        self.cancelled: list[tuple[int, float | None]] = []
        self.decoded = 0

    def load(self, envelope):
        self.decoded += 1
        return self.codec.decode(envelope)

    def error_of(self, status, value):
        return exception_from_call_error(status, call_pb2.CallError.FromString(value))

    def cancel_call(self, future, grace_s):
        self.cancelled.append((future.address[1], grace_s))

    def await_result(self, future):
        assert not future.is_over

    def value(self, value) -> bytes:
        return self.codec.encode_value(value).data

    def raised(self, error: Exception) -> bytes:
        kind = type(error)
        return call_pb2.CallError(
            type=f"{kind.__module__}.{kind.__qualname__}",
            message=str(error),
            traceback="Traceback: there",
            pickle=pickle.dumps(error),
        ).SerializeToString()

    def future(self, number: int = 1) -> CallFuture:
        future = CallFuture(self, "fit")
        future._sequence = number
        return future


@pytest.fixture
def source() -> Source:
    return Source()


def later(action) -> threading.Thread:
    thread = threading.Timer(0.02, action)
    thread.start()
    return thread


def test_it_is_a_future_of_the_standard_library(source):
    assert isinstance(source.future(), concurrent.futures.Future)


def test_it_holds_no_lock_before_somebody_waits(source):
    future = source.future()
    assert future._watch is None
    future.deliver(OK, source.value(3))
    assert future.result() == 3
    assert future._watch is None


def test_a_pending_one_is_small(source):
    assert sys.getsizeof(source.future()) <= 150


def test_a_waiting_thread_gets_the_value(source):
    future = source.future()
    later(lambda: future.deliver(OK, source.value([1, 2])))
    assert future.result(5) == [1, 2]
    assert future.done()
    assert not future.running()
    assert future.state is CallState.SUCCEEDED


def test_the_value_is_decoded_once_and_is_the_same_object_for_all(source):
    future = source.future()
    future.deliver(OK, source.value([1, 2]))
    assert source.decoded == 0
    assert future.result() is future.result()
    assert source.decoded == 1


def test_what_the_function_raised_is_raised_with_the_remote_traceback_as_its_cause(source):
    future = source.future()
    future.deliver(ERROR, source.raised(KeyError("x")))
    with pytest.raises(KeyError) as caught:
        future.result()
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "there" in str(caught.value.__cause__)
    assert future.exception() is caught.value
    assert future.state is CallState.FAILED


def test_a_value_that_cannot_be_unpickled_is_an_error_of_the_future(source):
    future = source.future()
    future.deliver(OK, b"\x01not a pickle")
    assert isinstance(future.exception(), pickle.UnpicklingError)


def test_a_wait_that_is_too_short_leaves_the_call_as_it_is(source):
    future = source.future()
    with pytest.raises(TimeoutError, match="is not done after"):
        future.result(0.01)
    with pytest.raises(TimeoutError):
        future.exception(0.01)
    future.deliver(OK, source.value(1))
    assert future.result() == 1


def test_only_the_first_result_counts(source):
    future = source.future()
    future.deliver(OK, source.value(1))
    future.deliver(OK, source.value(2))
    future.fail(OSError())
    assert future.result() == 1


def test_cancelling_ends_it_here_and_asks_the_platform(source):
    future = source.future(7)
    assert future.cancel(grace="2s")
    assert future.cancel()
    assert source.cancelled == [(7, 2.0)]
    assert future.cancelled()
    assert future.state is CallState.CANCELLED
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()
    with pytest.raises(CancelledError, match="was cancelled"):
        future.exception()
    future.deliver(OK, source.value(1))
    assert future.cancelled()


def test_what_is_over_cannot_be_cancelled(source):
    future = source.future()
    future.deliver(OK, source.value(1))
    assert not future.cancel()
    assert source.cancelled == []


def test_a_call_that_somebody_else_cancelled_says_why(source):
    future = source.future()
    error = call_pb2.CallError(message="pool closed").SerializeToString()
    future.deliver(CANCELLED, error)
    assert future.cancelled()
    with pytest.raises(CancelledError, match="pool closed"):
        future.result()


def test_wait_of_the_standard_library_knows_it(source):
    futures = [source.future(n) for n in range(1, 4)]
    futures[0].deliver(OK, source.value(0))
    later(lambda: [f.deliver(OK, source.value(1)) for f in futures[1:]])
    done, rest = concurrent.futures.wait(futures, timeout=5)
    assert (done, rest) == (set(futures), set())


def test_wait_for_the_first_exception(source):
    futures = [source.future(n) for n in range(1, 4)]
    later(lambda: futures[1].deliver(ERROR, source.raised(ValueError())))
    done, rest = concurrent.futures.wait(
        futures, timeout=5, return_when=concurrent.futures.FIRST_EXCEPTION
    )
    assert done == {futures[1]}
    assert rest == {futures[0], futures[2]}


def test_as_completed_of_the_standard_library_gives_them_as_they_end(source):
    futures = [source.future(n) for n in range(1, 4)]
    futures[2].deliver(OK, source.value("first"))
    later(lambda: (futures[0].deliver(OK, source.value("second")), futures[1].cancel()))
    order = list(concurrent.futures.as_completed(futures, timeout=5))
    assert order[0] is futures[2]
    assert set(order) == set(futures)


def test_callbacks_run_once_also_for_one_that_is_done(source):
    future, seen = source.future(), []
    future.add_done_callback(lambda f: seen.append(("early", f.result())))
    future.deliver(OK, source.value(1))
    future.add_done_callback(lambda f: seen.append(("late", f.result())))
    assert seen == [("early", 1), ("late", 1)]


def test_a_callback_that_raises_harms_nobody(source, caplog):
    future, seen = source.future(), []

    def fail(_) -> None:
        raise ValueError("mine")

    future.add_done_callback(fail)
    future.add_done_callback(seen.append)
    future.deliver(OK, source.value(1))
    assert seen == [future]
    assert "mine" in caplog.text


async def test_it_can_be_awaited_in_any_loop(source):
    future = source.future()
    later(lambda: future.deliver(OK, source.value(5)))
    assert await future == 5
    assert await future == 5


async def test_gather_and_wrap_future_know_it(source):
    first, second = source.future(1), source.future(2)
    later(lambda: (first.deliver(OK, source.value(1)), second.deliver(OK, source.value(2))))
    assert await asyncio.gather(first, asyncio.wrap_future(second)) == [1, 2]


async def test_awaiting_raises_what_the_function_raised(source):
    future = source.future()
    later(lambda: future.deliver(ERROR, source.raised(KeyError("x"))))
    with pytest.raises(KeyError):
        await future


async def test_cancelling_the_task_that_waits_cancels_the_call(source):
    future = source.future(3)

    async def wait() -> None:
        await future

    task = asyncio.ensure_future(wait())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert future.cancelled()
    assert source.cancelled == [(3, None)]


async def test_a_call_cancelled_elsewhere_does_not_look_like_a_cancelled_task(source):
    future = source.future()
    later(lambda: future.deliver(CANCELLED, b""))
    with pytest.raises(CancelledError):
        await future


def test_repr_says_id_function_state_and_age(source):
    future = source.future(4)
    assert repr(future).startswith(f"<CallFuture call_{'a' * 16}_4 fit pending, ")
    future.deliver(ERROR, source.raised(ValueError()))
    assert "failed" in repr(future)


def test_many_threads_may_wait_and_resolve_at_once(source):
    futures = [source.future(n) for n in range(1, 301)]
    results: list[list[int]] = [[] for _ in range(4)]
    threads = [
        threading.Thread(target=lambda r=r: r.extend(f.result(10) for f in futures))
        for r in results
    ]
    for thread in threads:
        thread.start()
    for number, future in enumerate(futures):
        future.deliver(OK, source.value(number))
    for thread in threads:
        thread.join(10)
    assert results == [list(range(300))] * 4


class LettingGo(Source):
    """The result arrives while the service is asked, which then has it no more."""

    def __init__(self, *, arrives: bool) -> None:
        super().__init__()
        self.arrives = arrives
        self.connection = self

    def let_arrive(self, future):
        self.asked = future

    def run(self, _operation):
        if self.arrives:
            self.asked.deliver(OK, self.value(3))
        raise NotFoundError("call call_x does not exist, or is no longer kept")


def test_a_result_that_comes_while_the_service_is_asked_is_the_answer():
    assert LettingGo(arrives=True).future().state is CallState.SUCCEEDED
    assert "SUCCEEDED" in str(LettingGo(arrives=True).future().explain())


def test_a_call_that_the_service_does_not_know_is_not_guessed():
    with pytest.raises(NotFoundError):
        _ = LettingGo(arrives=False).future().state
    with pytest.raises(NotFoundError):
        LettingGo(arrives=False).future().explain()
