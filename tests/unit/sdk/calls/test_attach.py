"""Calls and groups that somebody else submitted: by id, by pickle, and after a fork."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import pickle
import signal
import subprocess
import sys
import time
import warnings

import gridloom
import pytest
from gridloom.calls.group import Group, GroupInfo
from gridloom.calls.states import CallState
from gridloom.errors import IncompleteError, InvalidRequestError, NotFoundError


@gridloom.function
def square(x):
    return x * x


@gridloom.function
def slow(x):
    time.sleep(0.3)
    return x


@gridloom.function
def picky(x):
    if x == 3:
        raise ValueError(x)
    return x


@pytest.fixture
def other(service):
    """A client of another process, so to speak."""
    other = gridloom.connect(service.address, timeout=10)
    yield other
    other.close()


# ---- calls


def test_a_call_is_read_by_its_id(client, other):
    future = client.submit(square, 6)
    future.result(10)
    again = other.get(future.id)
    assert again.result(10) == 36
    assert again.state is CallState.SUCCEEDED


def test_a_call_that_still_runs_is_waited_for(client, other, service):
    service.hold()
    future = client.submit(square, 6)
    assert future.state is not None  # asking sees to it that the call is there
    again = other.get(future.id)
    assert not again.done()
    with pytest.raises(TimeoutError):
        again.result(0.05)
    service.running.set()
    assert again.result(10) == 36


def test_many_foreign_calls_are_waited_for_at_once(client, other, service):
    service.hold()
    futures = [client.submit(square, n) for n in range(40)]
    futures[-1].state  # noqa: B018  # they are all there now
    again = [other.get(one.id) for one in futures]
    service.running.set()
    done, rest = concurrent.futures.wait(again, timeout=20)
    assert not rest
    assert sorted(f.result() for f in done) == sorted(n * n for n in range(40))


def test_a_foreign_failure_is_raised(client, other):
    future = client.submit(picky, 3)
    future.state  # noqa: B018  # it is there now
    with pytest.raises(ValueError, match="3"):
        other.get(future.id).result(10)


def test_what_does_not_exist_is_said(other):
    with pytest.raises(NotFoundError):
        other.get("call_aaaaaaaaaaaaaaaa_1")
    with pytest.raises(NotFoundError):
        other.get("group_aaaaaaaaaaaaaaaa_1")
    with pytest.raises(InvalidRequestError, match="not an id"):
        other.get("something")


def test_a_foreign_call_can_be_cancelled(client, other, service):
    service.hold()
    future = client.submit(square, 6)
    again = other.get(future.id if future.state else "")
    assert again.cancel()
    service.wait_for(lambda: service.sessions and _call(service, future).cancelled)
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(10)
    service.running.set()


def _call(service, future):
    name, number = future.address
    return service.sessions[name].calls[number]


def test_a_pickled_future_is_a_handle(client):
    future = client.submit(square, 5)
    future.state  # noqa: B018  # it is there now
    again = pickle.loads(pickle.dumps(future))
    assert again is not future
    assert again.id == future.id
    assert again.result(10) == 25


def test_a_foreign_future_is_a_dependency_by_its_session_s_name(client, other, service):
    service.hold()
    first = client.submit(square, 3)
    assert first.state is not None
    second = other.submit(square, other.get(first.id))
    assert second.state is not None
    assert _call(service, second).needs == [first.address]
    service.running.set()
    assert second.result(10) == 81


async def test_a_foreign_future_is_awaited(client, other):
    future = client.submit(square, 5)
    assert await future == 25
    again = await asyncio.to_thread(other.get, future.id)
    assert await again == 25


# ---- groups


def test_a_map_is_read_again_in_order_from_elsewhere(client, other, service):
    service.script.part = 2
    results = client.map(square, range(20), chunk_size=5)
    assert list(results) == [n * n for n in range(20)]
    group = other.get(results.id)
    assert list(group.results()) == [n * n for n in range(20)]
    assert group.result(10) == [n * n for n in range(20)]
    assert sorted(group.results(order="completed")) == sorted(n * n for n in range(20))


def test_a_map_that_runs_is_followed(client, other, service):
    service.hold()
    identifier = client.map(square, range(10), chunk_size=1).group.id
    group = other.get(identifier)
    assert group.state is CallState.RUNNING
    service.running.set()
    assert list(group.results(timeout="10s")) == [n * n for n in range(10)]
    assert group.wait(10) is CallState.SUCCEEDED


def test_errors_in_a_group_are_raised_or_given(client, other):
    results = client.map(picky, range(5), return_exceptions=True, chunk_size=2)
    list(results)
    group = other.get(results.id)
    with pytest.raises(ValueError, match="3"):
        group.result(10)
    found = list(group.results(return_exceptions=True))
    assert found[:3] == [0, 1, 2]
    assert isinstance(found[3], ValueError)
    assert group.state is CallState.FAILED


def test_a_group_s_numbers_are_of_items(client, other, service):
    results = client.map(picky, range(10), chunk_size=5, return_exceptions=True)
    list(results)
    service.wait_for(lambda: any(s.sealed for s in service.sessions.values()))
    info = other.get(results.id).info
    assert (info.accepted, info.succeeded, info.failed, info.done) == (10, 9, 1, 10)
    assert (info.kind, info.name) == ("map", "picky")


def test_a_group_is_cancelled_from_elsewhere(client, other, service):
    service.hold()
    results = client.map(square, range(10), chunk_size=2)
    group = other.get(results.group.id)
    assert group.cancel() == 10
    assert group.state is CallState.CANCELLED
    with pytest.raises(concurrent.futures.CancelledError):
        list(results)
    service.running.set()


def test_group_handles_are_values(client):
    results = client.map(square, [1])
    group = results.group
    assert pickle.loads(pickle.dumps(group)) == group
    assert len({group, Group(client.connection, group.id)}) == 1
    assert repr(group) == f"<Group {group.id}>"
    assert repr(group.refreshed()).startswith(f"<Group {group.id} square ")
    list(results)


def test_a_group_without_a_call_yet_is_queued():
    info = GroupInfo("g", "n", "map", "f", 0, 0, 0, 0, sealed=False, created_at=None, ended_at=None)
    assert info.state is CallState.QUEUED


# ---- a map that was not sent whole


@pytest.fixture
def left_open(client, service):
    """The id of a map whose client went away in the middle of it."""
    service.script.abandon = True
    results = client.map(square, range(10), chunk_size=2)
    list(results)
    return results.id


def test_a_map_that_was_left_gives_its_results_and_then_says_that_this_is_not_all(left_open, other):
    group = other.get(left_open)
    found = []
    with pytest.raises(IncompleteError, match="its client went away") as caught:
        found.extend(group.results(timeout=10))
    assert found == [n * n for n in range(10)]
    assert (caught.value.accepted, caught.value.done) == (5, 7)
    with pytest.raises(IncompleteError):
        group.result(10)


def test_a_map_that_was_left_is_never_taken_for_one_that_succeeded(left_open, other):
    group = other.get(left_open)
    assert (group.info.abandoned, group.info.reason) == (True, "its client went away")
    assert group.state is CallState.FAILED
    assert group.wait(10) is CallState.FAILED
    assert "its client went away" in group._repr_html_()


# ---- forks


def forked(work) -> int:
    """Run `work` in a forked child; its exit code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: threads and forks
        child = os.fork()
    if child == 0:
        signal.alarm(30)
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def elsewhere():
    """A client of a service in a process of its own: a server in this one would be forked too."""
    program = [sys.executable, "-m", "tests.unit.sdk.calls.service"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        client = gridloom.connect(process.stdout.readline().decode().strip(), timeout=10)
        yield client
        client.close()
        process.stdin.close()


@pytest.mark.usefixtures("elsewhere")
def test_forked_children_have_sessions_of_their_own():
    assert square.submit(2).result(10) == 4
    first = square.route(gridloom.client.current_client().calls).session.name
    for _ in range(5):
        assert forked(lambda: square.submit(5).result(10) == 25) == 0
        assert square.submit(3).result(10) == 9
    assert square.route(gridloom.client.current_client().calls).session.name == first


@pytest.mark.usefixtures("elsewhere")
def test_a_forked_child_reads_its_parent_s_futures():
    waiting, ended = slow.submit(4), square.submit(5)
    assert ended.result(10) == 25
    assert waiting.state is not None
    assert forked(lambda: waiting.result(10) == 4 and waiting.done()) == 0
    assert forked(lambda: ended.result() == 25) == 0
    assert waiting.result(10) == 4


@pytest.mark.usefixtures("elsewhere")
def test_forked_children_may_map_and_be_forked_again():
    assert list(square.map(range(5))) == [0, 1, 4, 9, 16]
    inner = lambda: list(square.map(range(5))) == [0, 1, 4, 9, 16]  # noqa: E731
    assert forked(lambda: inner() and forked(inner) == 0) == 0


@pytest.mark.usefixtures("elsewhere")
def test_calls_in_flight_survive_a_fork():
    futures = [square.submit(n) for n in range(500)]
    for _ in range(3):
        assert forked(lambda: True) == 0
    futures += [square.submit(n) for n in range(500, 600)]
    assert [f.result(20) for f in futures] == [n * n for n in range(600)]


def test_a_pickled_map_is_its_group(client):
    results = client.calls.map(square, range(3))
    assert pickle.loads(pickle.dumps(results)) == results.group
    assert list(results) == [0, 1, 4]


def test_a_pickled_client_is_one_of_the_same_platform(client):
    assert pickle.loads(pickle.dumps(client)) is client
