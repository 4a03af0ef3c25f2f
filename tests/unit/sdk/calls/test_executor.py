"""The executor as libraries use executors, and pools beneath it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import pickle
import threading

import gridloom
import pytest
from gridloom.api.functions.v1 import pool_pb2
from gridloom.calls.states import PoolState
from gridloom.errors import InvalidRequestError, NotFoundError


def square(x):
    return x * x


def pools(service):
    return list(service.pools.values())


def test_it_is_an_executor_of_the_standard_library(client):
    with gridloom.Executor(client=client) as executor:
        assert isinstance(executor, concurrent.futures.Executor)
        assert executor.submit(pow, 2, 5).result(10) == 32
        assert list(executor.map(square, range(20))) == [n * n for n in range(20)]


def test_futures_of_it_are_waited_for_by_the_standard_library(client):
    with gridloom.Executor(client=client) as executor:
        futures = [executor.submit(square, n) for n in range(10)]
        done, rest = concurrent.futures.wait(futures, timeout=10)
        assert not rest
        assert {f.result() for f in done} == {n * n for n in range(10)}
        assert len(list(concurrent.futures.as_completed(futures, timeout=10))) == 10


async def test_event_loops_run_in_it(client):
    loop = asyncio.get_running_loop()
    with gridloom.Executor(client=client) as executor:
        assert await loop.run_in_executor(executor, square, 6) == 36


def test_workers_mean_a_pool_of_its_own_that_ends_with_it(client, service):
    with gridloom.Executor(workers=3, cpus=2, client=client) as executor:
        assert executor.submit(square, 2).result(10) == 4
        (pool,) = pools(service)
        assert (pool.spec.workers, dict(pool.spec.resources)) == (3, {"cpu": 2000})
        assert pool.state == pool_pb2.POOL_STATE_IDLE
    assert pool.state == pool_pb2.POOL_STATE_CLOSED


def test_max_workers_is_another_name_of_workers(client, service):
    with gridloom.Executor(max_workers=2, client=client):
        assert pools(service)[0].spec.workers == 2


def test_without_workers_it_shares_those_of_the_platform(client, service):
    with gridloom.Executor(client=client, timeout=3) as executor:
        executor.submit(square, 2).result(10)
    assert pools(service) == []
    assert next(iter(service.session().specs.values())).timeout_ms == 3000


def test_a_pool_that_was_given_stays_open(client, service):
    with client.pool(workers=2) as pool:
        with pool.executor() as executor:
            assert executor.submit(square, 3).result(10) == 9
        assert pools(service)[0].state == pool_pb2.POOL_STATE_IDLE


def test_after_a_shutdown_nothing_is_taken(client):
    executor = gridloom.Executor(client=client)
    executor.shutdown()
    executor.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(square, 1)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.map(square, [1])


def test_leaving_the_block_waits_for_what_was_submitted(client):
    with gridloom.Executor(client=client) as executor:
        futures = [executor.submit(square, n) for n in range(50)]
        results = executor.map(square, range(1000))
    assert all(f.done() for f in futures)
    assert list(results) == [n * n for n in range(1000)]


def test_a_shutdown_that_does_not_wait_lets_calls_end(client, service):
    service.hold()
    executor = gridloom.Executor(workers=1, client=client)
    future = executor.submit(square, 3)
    service.wait_for(lambda: service.session().last == 1)
    executor.shutdown(wait=False)
    assert pools(service)[0].state == pool_pb2.POOL_STATE_IDLE
    service.running.set()
    assert future.result(10) == 9
    service.wait_for(lambda: pools(service)[0].state == pool_pb2.POOL_STATE_CLOSED)


def test_a_shutdown_may_cancel_what_has_not_begun(client, service):
    service.hold()
    executor = gridloom.Executor(client=client)
    futures = [executor.submit(square, n) for n in range(5)]
    service.wait_for(lambda: service.session().last == 5)
    executor.shutdown(wait=True, cancel_futures=True)
    assert all(f.cancelled() for f in futures)
    service.running.set()


def test_map_takes_all_items_at_once(client):
    taken = []

    def source():
        for n in range(100):
            taken.append(n)
            yield n

    with gridloom.Executor(client=client) as executor:
        results = executor.map(square, source())
        assert len(taken) == 100
        assert next(results) == 0


def test_with_a_buffer_map_takes_items_as_results_are_read(client):
    counter = itertools.count()
    with gridloom.Executor(client=client) as executor:
        results = executor.map(square, counter, buffersize=5)
        assert [next(results) for _ in range(20)] == [n * n for n in range(20)]
        assert next(counter) <= 30
        results.close()


def test_map_keeps_to_a_chunk_size(client, service):
    with gridloom.Executor(client=client) as executor:
        list(executor.map(square, range(20), chunksize=5))
    assert [c.items for c in service.session().calls.values()] == [5] * 4


def test_map_times_out(client, service):
    service.hold()
    executor = gridloom.Executor(client=client)
    results = executor.map(square, range(5), timeout=0.1)
    with pytest.raises(TimeoutError):
        next(results)
    service.running.set()
    executor.shutdown()


@pytest.mark.parametrize("given", [{"chunksize": 0}, {"buffersize": 0}])
def test_map_refuses_sizes_below_one(client, given):
    with (
        gridloom.Executor(client=client) as executor,
        pytest.raises(InvalidRequestError),
    ):
        executor.map(square, [1], **given)


def test_a_misspelt_option_is_refused(client):
    with pytest.raises(InvalidRequestError, match='did you mean "timeout"'):
        gridloom.Executor(client=client, tmeout=3)


def test_many_threads_may_submit(client):
    with gridloom.Executor(client=client) as executor:
        results = []
        threads = [
            threading.Thread(
                target=lambda n=n: results.append(executor.submit(square, n).result(10))
            )
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert sorted(results) == [n * n for n in range(8)]


class TestPool:
    def test_calls_name_the_pool_and_nothing_of_workers(self, client, service):
        @gridloom.function(cpus=4, retries=1, queue="big")
        def fit(x):
            return x

        with client.pool(workers=2, name="mine", idle_timeout="1m") as pool:
            assert pool.submit(fit, 1).result(10) == 1
            assert fit.options(cpus=None, queue=None, pool=pool).submit(2).result(10) == 2
            assert list(pool.map(square, [1, 2])) == [1, 4]
            assert list(pool.starmap(pow, [(2, 3)])) == [8]
            assert pool.map_reduce(square, [1, 2], reduce=max) == 4
        specs = service.session().specs.values()
        assert {spec.pool_id for spec in specs} == {pool.id}
        assert pools(service)[0].spec.name == "mine"

    def test_the_block_waits_for_all_calls(self, client, service):
        with client.pool(workers=2) as pool:
            futures = [pool.submit(square, n) for n in range(20)]
            pool.map(square, range(50))
        assert all(f.done() for f in futures)
        assert all(c.done for c in service.session().calls.values())

    def test_an_error_in_the_block_does_not_wait(self, client, service):
        service.hold()
        pool = client.pool(workers=2)
        with contextlib.suppress(KeyError), pool:
            pool.submit(square, 1)
            raise KeyError("user")
        assert pools(service)[0].state == pool_pb2.POOL_STATE_CLOSED
        service.running.set()

    def test_an_initialiser_travels_with_the_pool(self, client, service):
        client.pool(workers=1, initializer=print, initargs=("hello",))
        assert pools(service)[0].spec.initializer

    def test_its_handle_tells_and_changes(self, client):
        pool = client.pool(workers=2)
        assert pool.state is PoolState.IDLE
        pool.resize(5)
        assert client.get(pool.id).info.id == pool.id
        pool.close()
        assert pool.state is PoolState.CLOSED

    def test_it_opens_elsewhere_by_pickle_and_by_id(self, client):
        pool = client.pool(workers=2)
        assert pickle.loads(pickle.dumps(pool)) == pool
        assert client.get(pool.id) == pool
        with pytest.raises(NotFoundError):
            client.get("pool_" + "z" * 26)

    def test_options_of_calls_are_no_options_of_pools(self, client):
        with pytest.raises(InvalidRequestError, match='unknown option "timeout"'):
            client.pool(timeout=3)
