"""The interceptors as a client meets them: over a real connection, on all kinds of methods."""

from __future__ import annotations

import asyncio
import errno
import logging

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from gridloom.version import PROTOCOL
from gridloom_services.common import errors
from gridloom_services.common.auth import administrator
from gridloom_services.common.metrics import PrometheusMetrics

from tests.support.eventually import eventually
from tests.unit.common.conftest import GANG_TOKENS, SERVICE, TOKEN, EchoApp, serving


def info_of(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    (details,) = [v for k, v in error.trailing_metadata() if k == "grpc-status-details-bin"]
    info = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(details).details[0].Unpack(info)
    return info


def raising(error: Exception):
    def behave(request: bytes) -> None:
        if request == b"bad":
            raise error

    return behave


async def test_a_call_of_any_kind_is_answered_for_its_caller(kind):
    app = EchoApp()
    async with serving(app) as (_, client):
        answers = await client.all_of(kind, b"a")
    assert set(answers) == {b"echo a"}
    assert set(app.callers) == {administrator("ada")}


async def test_a_domain_error_reaches_the_client_with_field_given_and_allowed(kind):
    error = errors.InvalidRequestError(
        'queue "gpuu" does not exist', field="queue", given="gpuu", allowed="cpu, gpu"
    )
    async with serving(EchoApp(raising(error))) as (_, client):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.all_of(kind, b"bad")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == 'queue "gpuu" does not exist'
    info = info_of(caught.value)
    assert (info.reason, info.domain) == ("INVALID_REQUEST", "gridloom")
    assert dict(info.metadata) == {"field": "queue", "given": "gpuu", "allowed": "cpu, gpu"}


@pytest.mark.parametrize("kind", ["BidiStream", "WritingStream"])
async def test_what_a_stream_has_answered_before_an_error_arrives(kind):
    error = errors.ConflictError("it has ended")
    async with serving(EchoApp(raising(error))) as (_, client):
        stream = client.stream(kind, b"a", b"bad")
        assert await stream.read() == b"echo a"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
    assert info_of(caught.value).reason == "CONFLICT"


async def test_a_defect_tells_a_number_that_the_log_has_too_and_nothing_else(kind, caplog):
    async with serving(EchoApp(raising(RuntimeError("secret detail")))) as (_, client):
        with caplog.at_level(logging.ERROR), pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.all_of(kind, b"bad")
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in caught.value.details()
    (record,) = [r for r in caplog.records if hasattr(r, "defect")]
    assert record.defect in caught.value.details()
    assert "secret detail" in str(record.exc_info)


async def test_a_full_disk_is_told_as_such():
    async with serving(EchoApp(raising(OSError(errno.ENOSPC, "no space")))) as (_, client):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.unary(b"bad")
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert info_of(caught.value).reason == "STORAGE_FULL"


@pytest.mark.parametrize("token", ["", "wrong", "glt1.e30.wrong"])
async def test_a_call_without_a_valid_token_is_refused(kind, token):
    app = EchoApp()
    async with serving(app) as (_, client):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.with_token(token).refusal_of(kind)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert app.callers == []


@pytest.mark.parametrize("protocol", ["0", "2", "old"])
async def test_a_client_of_another_protocol_is_told_both_versions(kind, protocol):
    app = EchoApp()
    said = {"gridloom-protocol": protocol, "gridloom-client": "9.9"}
    async with serving(app) as (_, client):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.with_token(TOKEN, **said).refusal_of(kind)
    assert info_of(caught.value).reason == "VERSION_MISMATCH"
    for words in ("Gridloom 9.9", f"protocol {protocol}", f"speaks {PROTOCOL}", "same version"):
        assert words in caught.value.details()
    assert app.callers == []


async def test_a_client_of_the_same_protocol_is_served():
    async with serving(EchoApp()) as (_, client):
        ours = client.with_token(TOKEN, **{"gridloom-protocol": str(PROTOCOL)})
        assert await ours.unary() == b"echo a"


async def test_a_gang_may_call_what_is_meant_for_gangs_and_nothing_else():
    app = EchoApp()
    async with serving(app) as (_, client):
        gang = client.with_token(GANG_TOKENS.issue("job_1", 2, "chem"))
        await gang.unary(b"a")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await gang.refusal_of("BidiStream")
    assert [(p.job_id, p.attempt, p.project) for p in app.callers] == [("job_1", 2, "chem")]
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "job_1" in caught.value.details()


async def test_a_unary_call_without_a_deadline_ends_at_the_default_one():
    app = EchoApp(lambda _: asyncio.sleep(60))
    async with serving(app, default_deadline_s=0.05) as (_, client):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.unary(b"a")
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "0.05 s" in caught.value.details()


async def test_a_stream_without_a_deadline_outlasts_the_default_one():
    async with serving(EchoApp(lambda _: asyncio.sleep(0.1)), default_deadline_s=0.01) as (_, c):
        assert await c.all_of("BidiStream", b"a", b"b") == [b"echo a", b"echo b"]


async def test_a_deadline_of_the_caller_counts_in_place_of_the_default_one():
    app = EchoApp(lambda _: asyncio.sleep(0.1))
    async with serving(app, default_deadline_s=0.01) as (_, client):
        assert await client.unary(b"a", timeout=30) == b"echo a"


async def test_a_time_out_of_the_method_itself_is_not_taken_for_the_deadline():
    app = EchoApp(raising(TimeoutError("of the method")))
    async with serving(app) as (_, client):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.unary(b"bad")
    assert caught.value.code() is grpc.StatusCode.INTERNAL


async def test_open_calls_of_users_count_as_activity_and_those_of_gangs_do_not():
    seen = []
    async with serving(EchoApp(lambda _: seen.append(activity.open_calls))) as (server, client):
        activity = server.rules.activity
        await client.unary(b"a")
        await client.with_token(GANG_TOKENS.issue("job_1", 1, "chem")).unary(b"a")
        assert activity.open_calls == 0
    assert seen == [1, 0]


async def test_a_stream_counts_as_activity_until_it_ends():
    async with serving(EchoApp()) as (server, client):
        stream = client.stream("BidiStream", b"a")
        assert await stream.read() == b"echo a"
        stream.cancel()
        await eventually(lambda: server.rules.activity.open_calls == 0)


async def test_the_metrics_count_calls_by_kind_and_status(kind):
    metrics = PrometheusMetrics()
    app = EchoApp(raising(errors.NotFoundError("none")))
    async with serving(app, metrics) as (_, client):
        await client.all_of(kind, b"a")
        with pytest.raises(grpc.aio.AioRpcError):
            await client.all_of(kind, b"bad")
    types = {
        "Unary": "unary",
        "ServerStream": "server_stream",
        "ClientStream": "client_stream",
    }
    labels = {
        "grpc_type": types.get(kind, "bidi_stream"),
        "grpc_service": SERVICE,
        "grpc_method": kind,
    }

    def value(name: str, **more: str) -> float | None:
        return metrics.registry.get_sample_value(name, labels | more)

    assert value("grpc_server_started_total") == 2
    assert value("grpc_server_handled_total", grpc_code="OK") == 1
    assert value("grpc_server_handled_total", grpc_code="NotFound") == 1
    assert value("grpc_server_handling_seconds_count") == (2 if kind == "Unary" else None)


async def test_refused_and_cancelled_calls_are_counted_too():
    metrics = PrometheusMetrics()
    begun = asyncio.Event()

    async def wait_for_ever() -> None:
        begun.set()
        await asyncio.sleep(60)

    def handled(code: str) -> float | None:
        return metrics.registry.get_sample_value(
            "grpc_server_handled_total",
            {
                "grpc_type": "unary",
                "grpc_service": SERVICE,
                "grpc_method": "Unary",
                "grpc_code": code,
            },
        )

    async with serving(EchoApp(lambda _: wait_for_ever()), metrics) as (_, client):
        with pytest.raises(grpc.aio.AioRpcError):
            await client.with_token("wrong").unary()
        call = client.unary()
        await begun.wait()
        call.cancel()
        await eventually(lambda: handled("Cancelled") == 1)
    assert handled("Unauthenticated") == 1
