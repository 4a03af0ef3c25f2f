"""Sessions against a real gRPC server that misbehaves on demand."""

from __future__ import annotations

import contextlib
import operator
import threading
import time

import grpc
import pytest
from gridloom import errors
from gridloom.api.functions.v1 import session_pb2
from gridloom.calls.future import CallFuture
from gridloom.calls.output import Printed
from gridloom.calls.session import Session
from gridloom.channel import Connection
from gridloom.endpoint import Endpoint
from gridloom.errors import PermissionDeniedError, UnavailableError
from gridloom.locate import FixedAddress
from gridloom.payload import PayloadCodec
from gridloom_services.common.errors import StorageFullError

from tests.support.eventually import eventually_now
from tests.unit.sdk.calls.conftest import Caller


def square(x: int) -> int:
    return x * x


def raising(x: object) -> None:
    raise KeyError(x)


def speak(text: str) -> None:
    print(text)


def test_a_call_goes_out_and_its_result_comes_back(caller):
    assert caller.submit(square, 7).result(10) == 49


def test_what_the_function_raises_is_raised_here(caller):
    with pytest.raises(KeyError, match="lost"):
        caller.submit(raising, "lost").result(10)


def test_a_flood_is_packed_into_few_frames(caller, service):
    service.hold()
    futures = [caller.submit(square, n) for n in range(500)]
    service.wait_for(lambda: service.session().last == 500)
    assert len(service.session().frames) < 250
    service.running.set()
    assert [f.result(10) for f in futures] == [n * n for n in range(500)]


def test_a_function_and_a_spec_travel_once(caller, service):
    futures = [caller.submit(square, n) for n in range(20)]
    assert [f.result(10) for f in futures]
    assert len(service.functions) == 1
    assert list(service.session().specs) == [1]


def test_results_said_twice_are_delivered_once(caller, service):
    service.script.twice = True
    seen = []
    futures = [caller.submit(square, n) for n in range(50)]
    for future in futures:
        future.add_done_callback(seen.append)
    assert [f.result(10) for f in futures] == [n * n for n in range(50)]
    caller.submit(square, 1).result(10)
    assert len(seen) == 50


def test_a_broken_stream_loses_nothing_and_runs_nothing_twice(connection, service):
    service.script.break_after = [10, 60, 90]
    caller = Caller(Session(connection))
    futures = []
    for number in range(200):
        futures.append(caller.submit(square, number))
        if number % 20 == 0:
            time.sleep(0.005)
    assert [f.result(20) for f in futures] == [n * n for n in range(200)]
    assert len(service.session().hellos) >= 3
    assert len(service.runs) == len(set(service.runs)) == 200


def test_a_new_stream_says_again_what_was_defined(caller, service, session):
    caller.submit(square, 1).result(10)
    group = session.new_group("map", "study")
    service.wait_for(lambda: group in service.session().groups)
    with service.lock:
        service.session().specs.clear()
        service.session().groups.clear()
        service.functions.clear()
        service.break_stream()
    assert caller.submit(square, 2).result(10) == 4
    assert service.session().groups[group].name == "study"


def test_calls_put_while_the_platform_is_away_arrive_when_it_is_back(caller, service):
    caller.submit(square, 1).result(10)
    service.stop()
    futures = [caller.submit(square, n) for n in range(10)]
    time.sleep(0.3)
    service.start()
    assert [f.result(10) for f in futures] == [n * n for n in range(10)]


def test_results_that_came_while_nobody_listened_come_with_the_next_stream(caller, service):
    service.hold()
    future = caller.submit(square, 3)
    service.wait_for(lambda: service.session().last == 1)
    service.stop()
    service.running.set()
    time.sleep(0.1)
    service.start()
    assert future.result(10) == 9


def test_unconfirmed_results_come_again_and_confirmed_ones_do_not(caller, service):
    caller.submit(square, 1).result(10)
    caller.submit(square, 2).result(10)
    service.wait_for(lambda: service.session().confirmed)
    assert [kept.number for kept in service.session().unconfirmed] == [2]


def test_many_results_are_confirmed_without_a_call_to_ride_on(caller, service):
    service.hold()
    futures = [caller.submit(square, n) for n in range(1500)]
    service.wait_for(lambda: service.session().last == 1500)
    service.running.set()
    for future in futures:
        future.result(20)
    service.wait_for(lambda: service.session().confirmed >= 1000)


def test_a_window_of_the_service_holds_back_who_sends(connection, service):
    service.script.window_calls = 5
    service.script.acknowledge = False
    session = Session(connection)
    caller = Caller(session)
    caller.submit(square, 0).result(10)
    blocked = threading.Thread(target=lambda: [caller.submit(square, n) for n in range(20)])
    blocked.start()
    service.wait_for(lambda: service.session().last == 5)
    time.sleep(0.05)
    assert session.outbox.last == 5
    service.script.acknowledge = True
    service.acknowledge()
    blocked.join(10)
    assert session.outbox.last == 21
    session.close()


def test_a_callback_may_submit_also_when_the_window_is_full(connection, service):
    service.script.window_calls = 2
    session = Session(connection)
    caller, second = Caller(session), []
    service.script.acknowledge = False
    first = caller.submit(square, 1)
    first.add_done_callback(lambda _: second.extend(caller.submit(square, n) for n in range(5)))
    assert first.result(10) == 1
    service.wait_for(lambda: service.session().last == 6)
    assert [f.result(10) for f in second] == [n * n for n in range(5)]
    session.close(timeout=0.1)


# ---- a full disk


def fill_disk(service):
    """Nothing is accepted from now on; the stream ends, and is refused when it is opened again."""
    service.script.acknowledge = False
    service.script.trouble = StorageFullError("the disk is full; nothing was accepted")


def test_on_a_full_disk_what_was_not_accepted_ends_and_the_rest_is_waited_for(
    caller, service, session
):
    service.hold()
    accepted = caller.submit(square, 3)
    assert session.flush(10)
    fill_disk(service)
    refused = [caller.submit(square, n) for n in range(4, 7)]
    service.wait_for(lambda: service.session().last == 4)
    service.break_stream()
    for future in refused:
        with pytest.raises(errors.StorageFullError, match="nothing was accepted"):
            future.result(10)
    with pytest.raises(errors.StorageFullError):
        caller.submit(square, 8)
    assert not session.usable
    assert not accepted.done()
    with service.lock:  # as if they had never come
        service.session().last = 1
        for number in (2, 3, 4):
            del service.session().calls[number]
    service.script.trouble = None
    service.running.set()
    assert accepted.result(10) == 9
    service.wait_for(lambda: service.session().confirmed)
    assert service.session().last == 1


def test_what_was_accepted_before_the_disk_was_full_says_at_last_how_to_come_back(service):
    with contextlib.closing(
        Connection(FixedAddress(Endpoint(service.address)), patience_s=0.3)
    ) as connection:
        session = Session(connection)
        service.hold()
        accepted = Caller(session).submit(square, 3)
        assert session.flush(10)
        fill_disk(service)
        service.break_stream()
        with pytest.raises(errors.StorageFullError, match="calls that were accepted go on"):
            accepted.result(10)
        service.running.set()


def test_a_group_whose_last_calls_were_refused_is_not_sealed(caller, service, session):
    service.hold()
    group = session.new_group("map", "study")
    accepted = caller.submit(square, 3, group=group)
    assert session.flush(10)
    fill_disk(service)
    refused = caller.submit(square, 4, group=group)
    service.wait_for(lambda: service.session().last == 2)
    service.session().sealed.clear()
    with service.lock:
        service.break_stream()
        session.seal(group)
    with pytest.raises(errors.StorageFullError):
        refused.result(10)
    with service.lock:
        service.session().last = 1
        del service.session().calls[2]
        service.session().sealed.clear()
    service.script.trouble = None
    service.running.set()
    assert accepted.result(10) == 9
    assert not service.session().sealed


def test_a_call_waits_for_the_one_that_it_is_given(caller, service):
    service.hold()
    first = caller.submit(square, 3)
    second = caller.submit(square, first)
    service.wait_for(lambda: service.session().last == 2)
    assert service.session().calls[2].needs == [(service.session().name, 1)]
    service.running.set()
    assert second.result(10) == 81


def test_a_failed_dependency_fails_its_dependents_with_the_same_error(caller, service):
    service.hold()
    first = caller.submit(raising, "early")
    second = caller.submit(square, first)
    service.running.set()
    with pytest.raises(KeyError, match="early"):
        second.result(10)


def test_cancelling_reaches_the_service(caller, service):
    service.hold()
    future = caller.submit(square, 3)
    service.wait_for(lambda: service.session().last == 1)
    assert future.cancel()
    service.wait_for(lambda: service.session().calls[1].cancelled)
    service.running.set()


def test_a_cancel_is_said_again_on_a_new_stream(caller, service):
    service.hold()
    future = caller.submit(square, 3)
    service.wait_for(lambda: service.session().last == 1)
    service.stop()
    future.cancel()
    service.start()
    service.wait_for(lambda: service.session().calls[1].cancelled)
    service.running.set()


def test_functions_that_the_service_lost_are_sent_again(caller, service):
    service.script.forget_functions = True
    assert caller.submit(square, 3).result(10) == 9


def test_what_a_call_prints_reaches_its_listener(caller, session):
    heard: list[Printed] = []
    spec = caller.spec(speak, capture_output=True)
    future = CallFuture(session, "speak")
    arguments = session.codec.encode_arguments(("hello",), {}).data
    session.put(spec, arguments, future, listener=heard.append)
    future.result(10)
    assert heard == [Printed(future.id, 0, "stdout", "hello\n")]


def test_a_refusal_ends_the_session_and_everything_that_waits(connection, service):
    service.script.refuse = (grpc.StatusCode.PERMISSION_DENIED, "no role")
    session = Session(connection)
    with pytest.raises(PermissionDeniedError, match="no role"):  # at once, where it came so soon
        Caller(session).submit(square, 1).result(10)
    eventually_now(lambda: not session.usable)
    with pytest.raises(PermissionDeniedError):
        Caller(session).submit(square, 1)


def test_a_platform_that_stays_away_is_reported_with_what_to_do(service):
    connection = Connection(FixedAddress(Endpoint(service.address)), patience_s=0.5)
    session = Session(connection)
    caller = Caller(session)
    caller.submit(square, 1).result(10)
    service.hold()
    future = caller.submit(square, 2)
    service.wait_for(lambda: service.session().last == 2)
    service.stop()
    with pytest.raises(UnavailableError, match=r"client\.get"):
        future.result(10)
    assert not session.usable
    connection.close()


def test_closing_sends_what_was_put(connection, service):
    session = Session(connection)
    service.hold()
    caller = Caller(session)
    for number in range(100):
        caller.submit(square, number)
    session.close()
    assert service.session().last == 100
    service.running.set()


def test_close_ends_the_session_s_thread(connection):
    session = Session(connection)
    session.close()
    assert not session._thread.is_alive()
    assert not session.usable


def test_specs_of_equal_content_share_a_number(session):
    def spec(**fields) -> int:
        return session.spec_number(session_pb2.CallSpec(function_digest=b"d", **fields))

    assert spec(timeout_ms=5) == spec(timeout_ms=5)
    assert spec(timeout_ms=5) != spec(timeout_ms=6)
    assert spec(group=1) != spec(group=1)


def test_the_service_s_limits_become_the_codec_s(caller, session):
    caller.submit(operator.add, 1, 2).result(10)
    assert session.codec.payload_limit_bytes == PayloadCodec().payload_limit_bytes
