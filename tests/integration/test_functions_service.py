"""The functions service whole: real gRPC, real sockets, a real database; workers are played."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib

import grpc
import pytest
from gridloom.api.functions.v1 import call_pb2, pool_pb2, session_pb2, worker_pb2
from gridloom.api.functions.v1 import functions_pb2 as pb
from gridloom_services.common.errors import InvalidRequestError
from gridloom_services.functions.call import session_name
from gridloom_services.functions.pools.jobs import JobNews
from gridloom_services.functions.store.sql import SqlCallStore

from tests.support.functions import TOKEN, Client, FakeWorker, Service

S = call_pb2
OK, ERROR = S.CALL_STATUS_OK, S.CALL_STATUS_ERROR
CANCELLED, REFUSED = S.CALL_STATUS_CANCELLED, S.CALL_STATUS_REFUSED
DIED = S.CALL_STATUS_WORKER_DIED


@pytest.fixture
async def stack():
    async with contextlib.AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def service(stack, tmp_path):
    return await stack.enter_async_context(Service(tmp_path))


@pytest.fixture
def connect(stack):
    """A new client of a service."""

    async def connect(service, key=b"k", token=TOKEN, **hello):
        client = Client(service.address, key * 16, token)
        stack.push_async_callback(client.close)
        return await client.connect(**hello)

    return connect


@pytest.fixture
def hire(stack):
    """Workers for the pool whose job was asked for last."""

    async def hire(service, *names, **attributes):
        await service.until(lambda: service.jobs.jobs)
        pool_id, job_id = service.pool_job()
        service.runs(job_id)
        workers = []
        for name in names or ("w1",):
            worker = FakeWorker(service, pool_id, job_id, name)
            for field, value in attributes.items():
                setattr(worker, field, value)
            await worker.start()
            stack.push_async_callback(worker.die)
            workers.append(worker)
        return workers[0] if len(workers) == 1 else workers

    return hire


async def status_of(awaitable) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await awaitable
    return caught.value


# Calls and results.


async def test_a_call_comes_back_with_its_result(service, connect, hire):
    client = await connect(service)
    await client.define()
    await client.submit(1, [b"a"])
    await hire(service)
    await client.all_results(1)
    assert client.results == {(1, 0): (OK, b"<a>")}


async def test_calls_are_acknowledged_when_they_are_on_disk(service, connect):
    client = await connect(service)
    await client.define()
    await client.submit(1, [b"a"] * 10)
    await client.until(lambda: client.acknowledged == 10)
    other = SqlCallStore(f"sqlite:///{service.home / 'functions.db'}")
    await other.open()
    (lane,) = (await other.recover()).lanes
    assert (lane.first, lane.last) == (1, 10)
    await other.close()


async def test_a_flood_is_answered_whole_and_once(service, connect, hire):
    client = await connect(service)
    await client.define()
    for first in range(1, 20_001, 2_000):
        await client.submit(first, [b"%d" % n for n in range(first, first + 2_000)])
    await hire(service, "w1", "w2")
    await client.all_results(20_000, 30)
    assert client.results[12_345, 0] == (OK, b"<12345>")
    assert set(client.times.values()) == {1}
    assert service.app.desk.ledger.unfinished == 0
    assert service.app.desk.held.blocks == {}


async def test_what_has_no_worker_waits_on_disk_and_not_in_memory(service, connect, hire):
    client = await connect(service)
    await client.define()
    for first in range(1, 40_001, 4_000):
        await client.submit(first, [b"x"] * 4_000)
    await client.until(lambda: client.acknowledged == 40_000)
    (lane,) = service.app.desk.held.pool(service.pool_job()[0]).lanes
    assert lane.held_calls <= 4_096
    assert lane.demand == 40_000
    await hire(service)
    await client.all_results(40_000, 30)
    assert set(client.times.values()) == {1}


async def test_chunks_come_back_item_by_item(service, connect, hire):
    client = await connect(service)
    await client.define()
    await client.submit(1, [b"a", b"b"], items=[3, 2])
    await hire(service)
    await client.all_results(5)
    assert {place: value for place, (_, value) in client.results.items()} == {
        **{(1, item): b"<a>" for item in range(3)},
        **{(2, item): b"<b>" for item in range(2)},
    }


async def test_two_clients_share_a_pool_of_one_kind(service, connect, hire):
    first, second = await connect(service, b"1"), await connect(service, b"2")
    for client in (first, second):
        await client.define()
        await client.submit(1, [b"a"])
    await hire(service)
    await first.all_results(1)
    await second.all_results(1)
    assert len(service.jobs.jobs) == 1


# Streams that break.


async def test_unconfirmed_results_are_sent_again_and_confirmed_ones_are_not(
    service, connect, hire
):
    client = await connect(service)
    await client.define()
    await client.submit(1, [b"a", b"b"])
    await hire(service)
    await client.all_results(2)
    await client.drop()
    again = await connect(service)
    await again.all_results(2)
    assert again.results == client.results
    assert again.welcome.acknowledged == 2
    await again.drop()
    last = await connect(service, confirmed=again.result_number)
    await last.define()
    await last.submit(3, [b"c"])
    await last.all_results(1)
    assert list(last.results) == [(3, 0)]


async def test_a_frame_that_is_sent_twice_is_run_once(service, connect, hire):
    client = await connect(service)
    await client.define()
    await client.submit(1, [b"a", b"b", b"c"])
    await client.until(lambda: client.acknowledged == 3)
    await client.drop()
    client = await connect(service)
    await client.define()
    await client.submit(1, [b"a", b"b", b"c"])
    await client.submit(2, [b"b", b"c", b"d", b"e"])
    worker = await hire(service)
    await client.all_results(5)
    assert sorted(worker.runs) == [(n, 1) for n in range(1, 6)]


async def test_a_newer_stream_of_a_session_ends_the_older(service, connect, hire):
    older = await connect(service)
    newer = await connect(service)
    assert await older.call.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "another stream" in await older.call.details()
    await newer.define()
    await newer.submit(1, [b"a"])
    await hire(service)
    await newer.all_results(1)


async def test_calls_that_are_left_out_end_the_stream(service, connect):
    client = await connect(service)
    await client.define()
    await client.submit(5, [b"a"])
    assert await client.call.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "missing" in await client.call.details()


async def test_a_client_that_finishes_is_told_everything_first(service, connect):
    client = await connect(service)
    await client.define()
    await client.submit(1, [b"a"] * 100)
    await client.call.done_writing()
    assert await client.call.code() is grpc.StatusCode.OK
    assert client.acknowledged == 100


async def test_another_protocol_is_refused_naming_both(service):
    client = Client(service.address)
    client.call = client.stub.OpenSession(metadata=client.metadata)
    hello = session_pb2.Hello(session_key=b"k" * 16, protocol=9, client_version="7.0")
    await client.call.write(session_pb2.OpenSessionRequest(hello=hello))
    assert await client.call.code() is grpc.StatusCode.FAILED_PRECONDITION
    details = await client.call.details()
    assert "protocol 9" in details
    assert "7.0" in details
    await client.close()


async def test_a_stranger_cannot_take_over_a_session(service, connect):
    await connect(service)
    token = service.tokens.issue("job_9", 1, "default", owner="mallory")
    thief = Client(service.address, token=token)
    with pytest.raises(AssertionError, match="somebody else"):
        await thief.connect()
    await thief.close()


async def test_a_process_of_a_gang_calls_in_its_own_project_only(service, connect, hire):
    token = service.tokens.issue("job_9", 1, "default")
    inside = await connect(service, b"g", token)
    await inside.define()
    await inside.submit(1, [b"a"])
    await hire(service)
    await inside.all_results(1)
    outside = Client(service.address, b"o" * 16, token)
    with pytest.raises(AssertionError, match="acts in project"):
        await outside.connect(project="other")
    await outside.close()


# What cannot be is answered call by call.


async def test_calls_of_what_was_not_defined_are_refused(service, connect):
    client = await connect(service)
    await client.submit(1, [b"a", b"b"])
    await client.all_results(2)
    assert client.statuses() == {1: REFUSED, 2: REFUSED}
    assert client.error(1).type == "gridloom.errors.InvalidRequestError"


async def test_calls_for_an_unknown_pool_are_refused(service, connect):
    client = await connect(service)
    await client.define(pool_id="pool_nowhere")
    await client.submit(1, [b"a"])
    await client.all_results(1)
    assert client.error(1).type == "gridloom.errors.NotFoundError"
    assert "pool_nowhere" in client.error(1).message


async def test_calls_with_absurd_options_are_refused_and_the_rest_go_on(service, connect, hire):
    client = await connect(service)
    await client.define()
    await client.define(spec=2, pool=pool_pb2.PoolSpec(workers=-3))
    await client.define(spec=3, retries=session_pb2.CallRetries(error=10**6))
    await client.submit(1, [b"a"])
    await client.submit(2, [b"b"], spec=2)
    await client.submit(3, [b"c"], spec=3, items=[4])
    await hire(service)
    await client.all_results(6)
    assert client.statuses() == {1: OK, 2: REFUSED, 3: REFUSED}
    assert dict(client.error(2).details)["field"] == "workers"


async def test_code_that_does_not_have_its_digest_is_refused(service, connect):
    client = await connect(service)
    function = session_pb2.FunctionDefinition(digest=b"x" * 32, name="f", code=b"echo")
    spec = session_pb2.CallSpec(number=1, function_digest=b"x" * 32)
    await client.send(functions=[function], specs=[spec])
    await client.submit(1, [b"a"])
    await client.all_results(1)
    assert "digest" in client.error(1).message


async def test_code_that_the_service_lacks_is_asked_for(service, connect, hire):
    client = await connect(service)
    digest = digest_of(b"echo")
    await client.send(specs=[session_pb2.CallSpec(number=1, function_digest=digest)])
    await client.submit(1, [b"a"])
    await client.until(lambda: client.missing == [digest])
    await client.until(lambda: client.acknowledged == 1)
    function = session_pb2.FunctionDefinition(digest=digest, name="f", code=b"echo")
    await client.send(functions=[function])
    await hire(service)
    await client.all_results(1)


async def test_a_client_of_another_python_than_the_pool_is_refused(service, connect):
    client = await connect(service, python="3.13")
    await client.define(pool=pool_pb2.PoolSpec(python_version="3.11"))
    await client.submit(1, [b"a"])
    await client.all_results(1)
    assert client.error(1).type == "gridloom.errors.VersionMismatchError"
    assert "3.13" in client.error(1).message


# Workers that die, and services that do.


async def test_what_a_dead_worker_held_is_run_by_another(service, connect, hire):
    client = await connect(service)
    await client.define()
    await client.submit(1, [b"%d" % n for n in range(1, 101)])
    dying = await hire(service, "w1", is_automatic=False)
    await service.until(lambda: dying.batches)
    await dying.die()
    await hire(service, "w2")
    await client.all_results(100)
    assert set(client.statuses().values()) == {OK}
    assert set(client.times.values()) == {1}


async def test_a_host_says_which_call_killed_its_worker(service, connect, hire):
    client = await connect(service)
    await client.define()
    await client.submit(1, [b"a"])
    host = await hire(service, "host", kind=worker_pb2.WorkerHello.KIND_HOST, is_automatic=False)
    for name in ("w1", "w2", "w3"):
        worker = await hire(service, name, is_automatic=False)
        await service.until(lambda worker=worker: worker.batches)
        assert worker.batches[0].runs[0].isolated == (name != "w1")
        died = worker_pb2.WorkerDied(
            worker_id=name, signal=11, busy=True, batch=worker.batches[0].number
        )
        host.send(worker_pb2.WorkerFrame(died=died))
        await worker.die()
    await client.all_results(1)
    assert client.statuses() == {1: DIED}
    assert client.error(1).type == "gridloom.errors.WorkerDiedError"
    assert dict(client.error(1).details)["signal"] == "11"


async def test_a_worker_of_another_job_or_an_older_attempt_is_sent_away(service, connect, hire):
    client = await connect(service)
    await client.define()
    await client.submit(1, [b"a"])
    await service.until(lambda: service.jobs.jobs)
    pool_id, job_id = service.pool_job()
    await service.until(lambda: service.app.pools.get(pool_id).row.job_id)
    stranger = await FakeWorker(service, pool_id, "job_other").start()
    await asyncio.wait_for(stranger._task, 5)
    newer = FakeWorker(service, pool_id, job_id, "new")
    newer.is_automatic = False
    newer._token = service.tokens.issue(job_id, 2, "default")
    await newer.start()
    await service.until(lambda: newer.batches)
    older = await FakeWorker(service, pool_id, job_id, "old").start()
    await asyncio.wait_for(older._task, 5)
    for worker in (stranger, older, newer):
        await worker.die()


async def test_a_restart_loses_no_call_and_tells_no_result_twice(tmp_path, connect, hire):
    first = await Service(tmp_path).start()
    client = await connect(first)
    await client.define()
    await client.submit(1, [b"%d" % n for n in range(1, 3_001)])
    worker = await hire(first, delay_s=0.001)
    await client.until(lambda: len(client.results) > 500)
    await client.confirm()
    confirmed = client.result_number
    await worker.die()
    await client.drop()
    await first.stop()
    seen = dict(client.results)
    async with Service(tmp_path, first.store) as second:
        again = await connect(second, confirmed=confirmed)
        assert again.welcome.epoch == client.welcome.epoch + 1
        await hire(second, "w2")
        await again.until(lambda: len(again.results.keys() | seen.keys()) == 3_000, 30)
        assert set(again.statuses().values()) == {OK}
        assert set(again.times.values()) == {1}
        await again.drop()


async def test_answers_of_an_earlier_start_are_refused(service, connect, hire):
    client = await connect(service)
    await client.define()
    await client.submit(1, [b"a"])
    worker = await hire(service, is_automatic=False)
    await service.until(lambda: worker.batches)
    worker.finish(worker.batches[0], epoch=worker.batches[0].epoch - 1)
    await service.until(lambda: service.app.desk.dispatcher.stale_answers)
    assert client.results == {}
    worker.finish(worker.batches[0])
    await client.all_results(1)


async def test_what_a_blocked_worker_gives_back_runs_elsewhere(service, connect, hire):
    client = await connect(service)
    await client.define()
    service.app.desk.held.estimate(digest_of(b"echo")).item_us = 1.0
    await client.submit(1, [b"a", b"b", b"c"])
    worker = await hire(service, is_automatic=False)
    await service.until(lambda: worker.batches)
    number = worker.batches[0].number
    blocked = worker_pb2.SlotBlocked(batch=number, unit=0, blocked=True)
    worker.send(worker_pb2.WorkerFrame(blocked=blocked))
    back = worker_pb2.UnitResults(first_unit=1, statuses=b"\0\0", values=[b"", b""])
    results = worker_pb2.Results(epoch=worker.batches[0].epoch, batch=number, runs=[back])
    worker.send(worker_pb2.WorkerFrame(results=results))
    await hire(service, "w2")
    await client.all_results(2)
    assert sorted(client.statuses()) == [2, 3]
    worker.answer(worker.batches[0], 0, OK, b"late", last=True)
    await client.all_results(3)


def digest_of(code):
    return hashlib.sha256(code).digest()


# Retries.


async def test_a_failing_call_is_run_as_often_as_asked(service, connect, hire):
    client = await connect(service)
    await client.define(b"fail", retries=session_pb2.CallRetries(error=2))
    await client.submit(1, [b"a"])
    worker = await hire(service)
    await client.all_results(1)
    assert worker.runs == [(1, 1), (1, 2), (1, 3)]
    assert client.error(1).type == "builtins.ValueError"


async def test_a_back_off_and_its_count_survive_a_restart(tmp_path, connect, hire):
    first = await Service(tmp_path).start()
    client = await connect(first)
    retries = session_pb2.CallRetries(error=2, backoff_ms=300)
    await client.define(b"fail", retries=retries)
    await client.submit(1, [b"a"])
    worker = await hire(first)
    await first.until(lambda: worker.runs)
    await asyncio.sleep(0.05)
    await client.drop()
    await worker.die()
    await first.stop()
    async with Service(tmp_path, first.store) as second:
        again = await connect(second)
        worker = await hire(second)
        await again.all_results(1)
        assert worker.runs == [(1, 2), (1, 3)]
        await again.drop()


@pytest.mark.slow
async def test_at_most_once_is_not_begun_again_after_a_crash(tmp_path, connect, hire):
    first = await Service(tmp_path).start()
    client = await connect(first)
    await client.define(at_most_once=True)
    await client.submit(1, [b"a", b"b"])
    worker = await hire(first, is_automatic=False)
    await first.until(lambda: worker.batches)
    assert client.acknowledged == 2
    await client.drop()
    first.app.desk.cycle.stop()
    await worker.die()
    await first.stop()
    async with Service(tmp_path, first.store) as second:
        again = await connect(second)
        worker = await hire(second)
        await again.all_results(2)
        assert again.statuses() == {1: DIED, 2: OK}
        assert "at-most-once" in again.error(1).message
        assert worker.runs == [(2, 1)]
        await again.drop()


async def test_a_chunk_that_had_begun_ends_once_and_whole_after_a_crash(tmp_path, connect, hire):
    """Its items are ended one by one: each of them has to know of the others."""
    first = await Service(tmp_path).start()
    client = await connect(first)
    await client.define(at_most_once=True)
    await client.submit(1, [b"a"], items=[3])
    worker = await hire(first, is_automatic=False)
    await first.until(lambda: worker.batches)
    await client.drop()
    first.app.desk.cycle.stop()
    await worker.die()
    await first.stop()
    async with Service(tmp_path, first.store) as second:
        again = await connect(second)
        await again.all_results(3)
        assert {status for status, _ in again.results.values()} == {DIED}
        assert second.app.desk.ledger.unfinished == 0
        await second.app.desk.cycle.flushed()
        assert (await second.store.recover()).lanes == []
        await again.drop()


# Cancelling.


async def test_waiting_calls_are_cancelled_wherever_they_wait(service, connect):
    client = await connect(service)
    await client.define()
    for first in range(1, 20_001, 4_000):
        await client.submit(first, [b"x"] * 4_000)
    await client.until(lambda: client.acknowledged == 20_000)
    cancel = session_pb2.CallCancel(first_sequence=101, count=19_800)
    await client.send(cancels=[cancel])
    await client.all_results(19_800, 30)
    assert set(client.statuses().values()) == {CANCELLED}
    assert min(client.statuses()) == 101
    assert service.app.desk.ledger.unfinished == 200


async def test_a_running_call_is_interrupted_through_worker_and_host(service, connect, hire):
    client = await connect(service)
    await client.define()
    await client.submit(1, [b"a"])
    host = await hire(service, "host", kind=worker_pb2.WorkerHello.KIND_HOST, is_automatic=False)
    worker = await hire(service, is_automatic=False)
    await service.until(lambda: worker.batches)
    cancel = session_pb2.CallCancel(first_sequence=1, count=1, running=True, grace_ms=250)
    await client.send(cancels=[cancel])
    await service.until(lambda: worker.cancels and host.cancels)
    assert (host.cancels[0].batch, host.cancels[0].grace_ms) == (worker.batches[0].number, 250)
    worker.answer(worker.batches[0], 0, CANCELLED, b"", last=True)
    await client.all_results(1)
    assert client.statuses() == {1: CANCELLED}


async def test_some_items_of_a_waiting_chunk_are_cancelled(service, connect, hire):
    client = await connect(service)
    await client.define()
    await client.submit(1, [b"a"], items=[10])
    ranges = [call_pb2.ItemRange(first=2, count=3), call_pb2.ItemRange(first=8, count=1)]
    await client.send(cancels=[session_pb2.CallCancel(first_sequence=1, count=1, ranges=ranges)])
    await hire(service)
    await client.all_results(10)
    cancelled = [item for (_, item), (status, _) in client.results.items() if status == CANCELLED]
    assert sorted(cancelled) == [2, 3, 4, 8]


async def test_a_cancel_request_says_how_much_it_reached(service, connect):
    client = await connect(service)
    await client.send(groups=[session_pb2.GroupDefinition(number=1, name="g", kind="map")])
    await client.define(group=1)
    for first in range(1, 10_001, 2_500):
        await client.submit(first, [b"x"] * 2_500)
    await client.until(lambda: client.acknowledged == 10_000)
    name = service.app.desk.streams[1].session.name
    request = pb.CancelCallsRequest(group_id=f"group_{name}_1")
    answer = await client.stub.CancelCalls(request, metadata=client.metadata)
    assert answer.cancelled == 10_000
    await client.all_results(10_000)


# Calls that wait for others.


def needs(position, *sequences, session=""):
    calls = [session_pb2.CallId(session=session, sequence=one) for one in sequences]
    return session_pb2.CallDependencies(position=position, calls=calls)


async def test_a_call_gets_what_others_returned(service, connect, hire):
    client = await connect(service)
    await client.define()
    await client.define(b"join", spec=2)
    await client.submit(1, [b"a", b"b"])
    await client.submit(3, [b"x"], spec=2, dependencies=[needs(0, 2, 1)])
    await client.submit(4, [b"c"], items=[2])
    await client.submit(5, [b"y"], spec=2, dependencies=[needs(0, 3, 4)])
    await hire(service)
    await client.all_results(6)
    assert client.results[3, 0] == (OK, b"<b>+<a>")
    assert client.results[5, 0] == (OK, b"<b>+<a>+<c>")


async def test_a_call_may_wait_for_one_that_has_ended(service, connect, hire):
    client = await connect(service)
    await client.define()
    await client.define(b"join", spec=2)
    await client.submit(1, [b"a"])
    await hire(service)
    await client.all_results(1)
    await client.submit(2, [b"x"], spec=2, dependencies=[needs(0, 1)])
    await client.all_results(2)
    assert client.results[2, 0] == (OK, b"<a>")


async def test_failure_is_passed_on_to_all_that_wait(service, connect, hire):
    client = await connect(service)
    await client.define(b"fail")
    await client.define(b"join", spec=2)
    await client.submit(1, [b"a"])
    await client.submit(2, [b"x"], spec=2, dependencies=[needs(0, 1)])
    await client.submit(3, [b"y"], spec=2, dependencies=[needs(0, 2)])
    await hire(service)
    await client.all_results(3)
    failed = S.CALL_STATUS_DEPENDENCY_FAILED
    assert client.statuses() == {1: ERROR, 2: failed, 3: failed}
    assert client.error(3).type == "builtins.ValueError"


async def test_who_waits_for_nothing_that_exists_is_refused(service, connect):
    client = await connect(service)
    await client.define(b"join")
    await client.submit(1, [b"x"], dependencies=[needs(0, 1)])
    await client.submit(2, [b"x"], dependencies=[needs(0, 1, session="aaaaaaaaaaaaaaaa")])
    await client.submit(3, [b"x"], dependencies=[needs(0, 9)])
    await client.all_results(3)
    assert set(client.statuses().values()) == {REFUSED}


async def test_calls_wait_across_sessions(service, connect, hire):
    giver, taker = await connect(service, b"1"), await connect(service, b"2")
    await giver.define()
    await giver.submit(1, [b"a"])
    await taker.define(b"join")
    name = service.app.desk.streams[1].session.name
    await giver.until(lambda: giver.acknowledged == 1)
    await taker.submit(1, [b"x"], dependencies=[needs(0, 1, session=name)])
    await hire(service)
    await taker.all_results(1)
    assert taker.results[1, 0] == (OK, b"<a>")


async def test_a_confirmed_result_stays_for_those_who_wait(service, connect, hire):
    client = await connect(service)
    await client.define()
    await client.define(b"join", spec=2, pool=pool_pb2.PoolSpec(name="other"))
    await client.submit(1, [b"a"])
    await client.submit(2, [b"x"], spec=2, dependencies=[needs(0, 1)])
    await hire(service)
    await service.until(lambda: len(service.jobs.jobs) in {1, 2})
    await client.all_results(1)
    await client.confirm()
    await service.until(lambda: len(service.jobs.jobs) == 2)
    await asyncio.sleep(0.05)
    await hire(service, "o1")
    await client.all_results(2)
    assert client.results[2, 0] == (OK, b"<a>")
    await client.confirm()
    session = service.app.desk.streams[1].session
    await service.until(lambda: session.confirmed == session.result_number)
    assert service.app.desk.dependencies.pins == {}


async def test_waiting_calls_survive_a_restart(tmp_path, connect, hire):
    first = await Service(tmp_path).start()
    client = await connect(first)
    await client.define()
    await client.define(b"join", spec=2)
    await client.submit(1, [b"a", b"b"])
    await client.submit(3, [b"x"], spec=2, dependencies=[needs(0, 1, 2)])
    await client.until(lambda: client.acknowledged == 3)
    await client.drop()
    await first.stop()
    async with Service(tmp_path, first.store) as second:
        again = await connect(second)
        await hire(second)
        await again.all_results(3)
        assert again.results[3, 0] == (OK, b"<a>+<b>")
        await again.drop()


async def test_a_waiting_call_can_be_cancelled(service, connect, hire):
    client = await connect(service)
    await client.define()
    await client.define(b"join", spec=2)
    await client.submit(1, [b"a"])
    await client.submit(2, [b"x", b"y"], spec=2, dependencies=[needs(0, 1), needs(1, 2)])
    await client.until(lambda: client.acknowledged == 3)
    await client.send(cancels=[session_pb2.CallCancel(first_sequence=2, count=1)])
    await client.all_results(2)
    assert client.statuses() == {2: CANCELLED, 3: S.CALL_STATUS_DEPENDENCY_FAILED}
    await hire(service)
    await client.all_results(3)


# Groups, and reading without the client that submitted.


async def test_a_group_is_counted_and_read_by_anybody(service, connect, hire):
    client = await connect(service)
    await client.send(groups=[session_pb2.GroupDefinition(number=1, name="study", kind="map")])
    await client.define(group=1)
    await client.submit(1, [b"a", b"fail", b"c"])
    await client.submit(4, [b"d"], items=[5])
    await client.send(seals=[session_pb2.GroupSeal(number=1)])
    await client.until(lambda: client.acknowledged == 4)
    name = service.app.desk.streams[1].session.name
    await client.drop()
    reader = Client(service.address)
    request = pb.ReadResultsRequest(group_id=f"group_{name}_1", follow=True)
    pages = reader.stub.ReadResults(request, metadata=reader.metadata)
    await hire(service)
    found, cursor = {}, 0
    async for page in pages:
        cursor = page.cursor
        offsets = iter(page.group_offsets)
        for run in page.runs:
            for index in range(1 if run.ranges else len(run.statuses)):
                at = next(offsets)
                found.setdefault(at, (run.first_sequence + index, run.statuses[index]))
    assert found == {0: (1, OK), 1: (2, ERROR), 2: (3, OK), 3: (4, OK)}
    group = (
        await reader.stub.GetGroup(
            pb.GetGroupRequest(group_id=f"group_{name}_1"), metadata=reader.metadata
        )
    ).group
    assert (group.accepted, group.succeeded, group.failed, group.sealed) == (8, 7, 1, True)
    assert (group.name, group.kind, group.function) == ("study", "map", "echo")
    assert group.HasField("ended_at")
    rest = pb.ReadResultsRequest(group_id=f"group_{name}_1", cursor=cursor)
    assert [page async for page in reader.stub.ReadResults(rest, metadata=reader.metadata)] == []
    await reader.close()


async def test_a_group_that_is_sealed_or_unknown_takes_no_calls(service, connect, hire):
    client = await connect(service)
    await client.send(groups=[session_pb2.GroupDefinition(number=1)])
    await client.define(spec=1, group=1)
    await client.define(spec=2, group=7)
    await client.submit(1, [b"in time"], spec=1)
    await client.send(seals=[session_pb2.GroupSeal(number=1)])
    await client.submit(2, [b"late"], spec=1)
    await client.submit(3, [b"astray"], spec=2)
    await hire(service)
    await client.all_results(3)
    assert client.statuses() == {1: OK, 2: REFUSED, 3: REFUSED}
    assert "group 1 was sealed" in client.error(2).message
    assert "group 7 was not defined" in client.error(3).message
    name = service.app.desk.streams[1].session.name
    request = pb.GetGroupRequest(group_id=f"group_{name}_1")
    group = (await client.stub.GetGroup(request, metadata=client.metadata)).group
    assert (group.accepted, group.succeeded) == (1, 1)


async def test_confirmed_results_of_a_group_stay(service, connect, hire):
    client = await connect(service)
    await client.send(groups=[session_pb2.GroupDefinition(number=1)])
    await client.define(group=1)
    await client.submit(1, [b"a"] * 10)
    await client.send(seals=[session_pb2.GroupSeal(number=1)])
    await hire(service)
    await client.all_results(10)
    await client.confirm()
    session = service.app.desk.streams[1].session
    await service.until(lambda: session.confirmed)
    request = pb.ReadResultsRequest(group_id=f"group_{session.name}_1", follow=True)
    pages = [page async for page in client.stub.ReadResults(request, metadata=client.metadata)]
    assert sum(len(run.statuses) for page in pages for run in page.runs) == 10
    gone = pb.ReadResultsRequest(call_id=f"call_{session.name}_99")
    assert [page async for page in client.stub.ReadResults(gone, metadata=client.metadata)] == []


# A group whose client went away before it said that this was all.


@pytest.fixture
async def quick_service(stack, tmp_path):
    """It waits only a moment for clients that are away."""
    return await stack.enter_async_context(Service(tmp_path, client_patience_s=0.1))


async def feed(client, *arguments, first=1):
    """Send calls of an open group."""
    await client.send(groups=[session_pb2.GroupDefinition(number=1, name="study", kind="map")])
    await client.define(group=1)
    await client.submit(first, list(arguments))
    await client.until(lambda: client.acknowledged == first + len(arguments) - 1)
    return f"group_{session_name(client.key)}_1"


async def followed(reader, group_id):
    """How many results a reader gets, and how the stream ends."""
    request = pb.ReadResultsRequest(group_id=group_id, follow=True)
    count = 0
    try:
        async for page in reader.stub.ReadResults(request, metadata=reader.metadata):
            count += sum(len(run.statuses) for run in page.runs)
    except grpc.aio.AioRpcError as error:
        return count, error
    return count, None


async def seen(reader, group_id):
    request = pb.GetGroupRequest(group_id=group_id)
    return (await reader.stub.GetGroup(request, metadata=reader.metadata)).group


async def test_readers_of_a_group_that_was_left_get_what_there_is_and_the_reason(
    quick_service, connect, hire
):
    client, reader = await connect(quick_service), await connect(quick_service, b"r")
    group_id = await feed(client, b"a", b"fail", b"c")
    reading = asyncio.create_task(followed(reader, group_id))
    await hire(quick_service)
    await client.all_results(3)
    assert not (await seen(reader, group_id)).abandoned
    await client.drop()
    count, error = await reading
    assert count == 3
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error.details() == (
        f"the client that fed {group_id} went away before it had sent everything: 3 items were"
        " accepted, 3 of them are done; it goes on should that client come back, else submit the"
        " rest again"
    )
    group = await seen(reader, group_id)
    assert (group.abandoned, group.sealed, group.reason) == (True, False, error.details())
    listed = await reader.stub.ListGroups(pb.ListGroupsRequest(), metadata=reader.metadata)
    assert [one.abandoned for one in listed.groups] == [True]


async def test_what_was_accepted_of_a_group_that_was_left_is_waited_for(
    quick_service, connect, hire
):
    client, reader = await connect(quick_service), await connect(quick_service, b"r")
    group_id = await feed(client, b"a", b"b")
    await client.drop()
    reading = asyncio.create_task(followed(reader, group_id))
    await wait_until_abandoned(reader, group_id)
    assert not reading.done()
    await hire(quick_service)
    count, error = await reading
    assert (count, error.code()) == (2, grpc.StatusCode.FAILED_PRECONDITION)


async def wait_until_abandoned(reader, group_id):
    async with asyncio.timeout(10):
        while not (await seen(reader, group_id)).abandoned:  # noqa: ASYNC110  # it is elsewhere
            await asyncio.sleep(0.01)


async def test_a_client_that_comes_back_goes_on_with_its_group(quick_service, connect, hire):
    client, reader = await connect(quick_service), await connect(quick_service, b"r")
    group_id = await feed(client, b"a")
    await hire(quick_service)
    await client.drop()
    count, error = await followed(reader, group_id)
    assert (count, error is None) == (1, False)
    back = await connect(quick_service)
    assert not (await seen(reader, group_id)).abandoned
    reading = asyncio.create_task(followed(reader, group_id))
    await feed(back, b"b", first=2)
    await back.send(seals=[session_pb2.GroupSeal(number=1)])
    assert await reading == (2, None)
    group = await seen(reader, group_id)
    assert (group.accepted, group.sealed, group.abandoned, group.reason) == (2, True, False, "")


async def test_a_client_is_waited_for_anew_after_the_service_s_restart(tmp_path, connect):
    async with Service(tmp_path, client_patience_s=0.0) as service:
        client = await connect(service)
        group_id = await feed(client, b"a")
        await client.drop()
        reader = await connect(service, b"r")
        await wait_until_abandoned(reader, group_id)
    async with Service(tmp_path, client_patience_s=3600) as service:
        assert not (await seen(await connect(service, b"s"), group_id)).abandoned


async def test_groups_are_listed_page_by_page(service, connect):
    client = await connect(service)
    groups = [session_pb2.GroupDefinition(number=n, name=f"g{n}") for n in range(1, 8)]
    await client.send(groups=groups)
    names, token = [], ""
    while True:
        request = pb.ListGroupsRequest(page_size=3, page_token=token)
        answer = await client.stub.ListGroups(request, metadata=client.metadata)
        names += [group.name for group in answer.groups]
        token = answer.next_page_token
        if not token:
            break
    assert sorted(names) == [f"g{n}" for n in range(1, 8)]
    assert len(names) == 7


async def test_a_call_says_where_it_stands(service, connect, hire):
    client = await connect(service)
    await client.define()
    await client.define(b"join", spec=2)
    await client.submit(1, [b"a", b"fail"])
    await client.submit(3, [b"x"], spec=2, dependencies=[needs(0, 1)])
    name = None

    async def state(sequence):
        request = pb.GetCallRequest(call_id=f"call_{name}_{sequence}")
        return (await client.stub.GetCall(request, metadata=client.metadata)).call

    await service.until(lambda: service.app.desk.streams)
    name = service.app.desk.streams[1].session.name
    await client.until(lambda: client.acknowledged == 3)
    assert (await state(1)).state == S.CALL_STATE_QUEUED
    assert (await state(1)).function == "echo"
    assert (await state(3)).state == S.CALL_STATE_BLOCKED
    worker = await hire(service, is_automatic=False)
    await service.until(lambda: worker.batches)
    assert (await state(1)).state == S.CALL_STATE_RUNNING
    worker.is_automatic = True
    worker.finish(worker.batches[0])
    await client.all_results(3)
    assert (await state(1)).state == S.CALL_STATE_SUCCEEDED
    failed = await state(2)
    assert (failed.state, failed.reason) == (S.CALL_STATE_FAILED, "ValueError: no")
    error = await status_of(state(77))
    assert error.code() is grpc.StatusCode.NOT_FOUND


async def test_what_is_no_id_is_told_apart(service):
    client = Client(service.address)
    for request in (pb.GetCallRequest(call_id="job_1"), pb.GetCallRequest(call_id="")):
        error = await status_of(client.stub.GetCall(request, metadata=client.metadata))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    await client.close()


async def test_output_reaches_the_client_and_stays_readable(service, connect, hire):
    client = await connect(service)
    await client.send(groups=[session_pb2.GroupDefinition(number=1)])
    await client.define(group=1, capture_output=True)
    await client.submit(1, [b"a"])
    worker = await hire(service, is_automatic=False)
    await service.until(lambda: worker.batches)
    number = worker.batches[0].number
    assert worker.batches[0].runs[0].capture_output
    for text in (b"one\n", b"two\n"):
        output = worker_pb2.WorkerOutput(batch=number, unit=0, stream=1, data=text)
        worker.send(worker_pb2.WorkerFrame(output=output))
    worker.finish(worker.batches[0])
    await client.all_results(1)
    assert [output.data for output in client.outputs] == [b"one\n", b"two\n"]
    name = service.app.desk.streams[1].session.name
    await client.send(seals=[session_pb2.GroupSeal(number=1)])
    for request in (
        pb.ReadOutputRequest(call_id=f"call_{name}_1", follow=True),
        pb.ReadOutputRequest(group_id=f"group_{name}_1", follow=True),
    ):
        pages = client.stub.ReadOutput(request, metadata=client.metadata)
        assert [page.output.data async for page in pages] == [b"one\n", b"two\n"]


async def test_functions_are_listed_with_their_counts(service, connect, hire):
    client = await connect(service)
    await client.define()
    await client.submit(1, [b"a", b"fail", b"c"])
    await hire(service)
    await client.all_results(3)
    answer = await client.stub.ListFunctions(pb.ListFunctionsRequest(), metadata=client.metadata)
    (function,) = answer.functions
    assert (function.name, function.succeeded, function.failed) == ("echo", 2, 1)


# Objects.


async def test_objects_are_held_while_a_call_needs_them(service, connect, hire):
    client = await connect(service)
    await client.define()
    objects = [session_pb2.CallObjects(position=0, digests=["sha256:a", "sha256:b"])]
    await client.submit(1, [b"x"], objects=objects)
    await client.until(lambda: client.acknowledged == 1)
    name = service.app.desk.streams[1].session.name
    await service.until(lambda: service.objects.held)
    assert service.objects.held == {f"call_{name}_1": {"sha256:a", "sha256:b"}}
    worker = await hire(service, is_automatic=False)
    await service.until(lambda: worker.batches)
    batch = worker.batches[0]
    run = worker_pb2.UnitResults(first_unit=0, statuses=b"\1", values=[b"v"])
    run.objects.add(position=0, digests=["sha256:c"])
    answer = worker_pb2.Results(epoch=batch.epoch, batch=batch.number, runs=[run], last=True)
    worker.send(worker_pb2.WorkerFrame(results=answer))
    await client.all_results(1)
    await service.until(lambda: len(service.objects.held[f"call_{name}_1"]) == 3)
    await client.confirm()
    await service.until(lambda: not service.objects.held)


# Pools.


async def test_a_pool_of_ones_own_is_made_resized_and_closed(service, connect):
    client = await connect(service)
    call = {"metadata": client.metadata}
    spec = pool_pb2.PoolSpec(name="mine", workers=2)
    made = (await client.stub.CreatePool(pb.CreatePoolRequest(spec=spec), **call)).pool
    await client.define(pool_id=made.id)
    await client.submit(1, [b"a"] * 5)
    await service.until(lambda: service.jobs.jobs)
    resize = pb.ResizePoolRequest(pool_id=made.id, workers=7)
    assert (await client.stub.ResizePool(resize, **call)).pool.spec.workers == 7
    listed = await client.stub.ListPools(pb.ListPoolsRequest(), **call)
    assert [(pool.id, pool.queued_calls) for pool in listed.pools] == [(made.id, 5)]
    await client.stub.ClosePool(pb.ClosePoolRequest(pool_id=made.id), **call)
    await client.all_results(5)
    assert set(client.statuses().values()) == {CANCELLED}
    await client.submit(6, [b"late"])
    await client.all_results(6)
    assert client.statuses()[6] == REFUSED


async def test_a_pool_whose_workers_cannot_be_made_breaks_and_says_why(service, connect, hire):
    client = await connect(service)
    await client.define()
    await client.submit(1, [b"a", b"b"])
    host = await hire(service, "host", kind=worker_pb2.WorkerHello.KIND_HOST, is_automatic=False)
    broken = worker_pb2.HostStatus(broken="the initializer raised ValueError: no licence")
    host.send(worker_pb2.WorkerFrame(host=broken))
    await client.all_results(2)
    assert client.statuses() == {1: REFUSED, 2: REFUSED}
    assert "no licence" in client.error(1).message


async def test_a_pool_whose_job_is_refused_tells_its_calls(service, connect):
    message = 'queue "gpuu" does not exist; queues: cpu'
    service.jobs.refusal = InvalidRequestError(message, field="queue", given="gpuu", allowed="cpu")
    client = await connect(service)
    await client.define(pool=pool_pb2.PoolSpec(queue="gpuu"))
    await client.submit(1, [b"a"])
    await client.all_results(1)
    error = client.error(1)
    assert (error.type, error.message) == ("gridloom.errors.InvalidRequestError", message)
    assert dict(error.details) == {"field": "queue", "given": "gpuu", "allowed": "cpu"}


async def test_a_lost_job_of_a_pool_is_replaced(service, connect, hire):
    client = await connect(service)
    await client.define()
    await client.submit(1, [b"a"])
    worker = await hire(service, is_automatic=False)
    await service.until(lambda: worker.batches)
    await worker.die()
    lost = JobNews(service.pool_job()[1], ended=True, failed=True, reason="node lost")
    service.jobs.tell(lost)
    await service.until(lambda: len(service.jobs.jobs) == 2)
    await hire(service, "w2")
    await client.all_results(1)


# Load, disks, ends.


async def test_a_client_that_does_not_read_costs_bounded_memory(service, connect, hire):
    client = await connect(service)
    client._reader.cancel()
    await client.define()
    for first in range(1, 2_001, 100):
        await client.submit(first, [b"x" * 50_000] * 100)
    await hire(service, "w1", "w2")
    desk = service.app.desk
    await service.until(lambda: not desk.ledger.unfinished and desk.streams, 60)
    delivery = desk.streams[1].session.delivery
    assert delivery._ready_bytes <= 9 << 20
    await client.drop()
    reader = await connect(service)
    await reader.all_results(2_000, 60)
    assert set(reader.times.values()) == {1}


async def test_a_full_disk_accepts_nothing_and_loses_nothing(service, connect, hire):
    client = await connect(service)
    await client.define()
    await client.submit(1, [b"a"])
    await client.until(lambda: client.acknowledged == 1)
    raw = service.store._database.raw
    pages = raw.execute("PRAGMA page_count").fetchone()[0]
    raw.execute(f"PRAGMA max_page_count = {pages + 2}")
    await client.submit(2, [b"x" * 200_000] * 5)
    assert await client.call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "full" in await client.call.details()
    assert client.acknowledged == 1
    refused = Client(service.address)
    with pytest.raises(AssertionError, match="full"):
        await refused.connect()
    await refused.close()
    raw.execute("PRAGMA max_page_count = 10000000")
    await service.until(lambda: service.app.desk.cycle.trouble is None)
    again = await connect(service)
    await again.define()
    await again.submit(2, [b"x" * 200_000] * 5)
    await hire(service)
    await again.all_results(6)
    assert set(again.times.values()) == {1}


async def test_it_is_idle_when_nothing_is_unfinished_and_nobody_is_there(service, connect, hire):
    assert service.app.is_idle()
    client = await connect(service)
    assert not service.app.is_idle()
    await client.define()
    await client.submit(1, [b"a"])
    await client.until(lambda: client.acknowledged)
    await client.drop()
    await service.until(lambda: not service.app.desk.streams)
    assert not service.app.is_idle()
    await hire(service)
    await service.until(service.app.is_idle)


async def test_a_stop_ends_streams_with_try_again(tmp_path, connect):
    service = await Service(tmp_path).start()
    client = await connect(service)
    await client.define()
    await client.submit(1, [b"a"] * 10)
    await service.stop()
    assert await client.call.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.slow
async def test_the_same_on_postgresql(tmp_path, postgres_url, connect, hire):
    store = SqlCallStore(postgres_url)
    first = await Service(tmp_path, store).start()
    client = await connect(first)
    await client.define()
    await client.define(b"join", spec=2)
    for start in range(1, 10_001, 1_000):
        await client.submit(start, [b"%d" % n for n in range(start, start + 1_000)])
    await client.submit(10_001, [b"x"], spec=2, dependencies=[needs(0, 1, 10_000)])
    worker = await hire(first, delay_s=0.0005)
    await client.until(lambda: len(client.results) > 2_000, 30)
    await client.drop()
    await worker.die()
    await first.stop()
    async with Service(tmp_path, store) as second:
        again = await connect(second)
        await hire(second, "w2", "w3")
        await again.until(lambda: len(again.results) == 10_001, 60)
        assert again.results[10_001, 0] == (OK, b"<1>+<10000>")
        assert set(again.times.values()) == {1}
        await again.drop()
