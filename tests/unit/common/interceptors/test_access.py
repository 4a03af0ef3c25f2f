"""API keys, roles and the audit log as a client meets them, on every kind of method."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import grpc
import pytest
from gridloom_services.common import errors
from gridloom_services.common.audit import AuditTrail
from gridloom_services.common.auth import Principal, require_project
from gridloom_services.common.interceptors import audit as audit_interceptor
from gridloom_services.common.interceptors import auth as auth_interceptor
from gridloom_services.common.interceptors.chain import CallRules
from gridloom_services.common.keyring import KeyRing
from gridloom_services.common.keys import KeyHasher, new_key
from gridloom_services.common.metrics import NO_METRICS
from gridloom_services.common.permissions import Rule, Scope
from gridloom_services.common.ring import Times, Verdict
from gridloom_services.common.roles import Role
from gridloom_services.common.server import PlatformServer
from gridloom_services.common.stop import Stop

from tests.unit.common.conftest import GANG_TOKENS, SERVICE, EchoApp, EchoClient, serving_chain

ADA = Principal("ada", project="chem", role=Role.SUBMITTER, key_id="k1")
# Project, kind by kind, as the table has it for real methods.
RULE = Rule(Role.SUBMITTER, others=Role.OPERATOR, action="echo.do")
STREAMS = ("ServerStream", "BidiStream", "WritingStream")


class Keeper:
    is_immediate = False

    def __init__(self) -> None:
        self.verdict = Verdict(ADA)
        self.asked = 0

    async def verdicts(self, proofs):
        self.asked += 1
        return [self.verdict] * len(proofs)


class Bench:
    def __init__(self, folder, app: EchoApp) -> None:
        self.keeper = Keeper()
        self.ring = KeyRing(KeyHasher(b"0" * 32), self.keeper, Times(fresh_s=0.02))
        self.trail = AuditTrail(folder / "audit.jsonl")
        rules = CallRules(serving_chain(), NO_METRICS, keys=self.ring, audit=self.trail)
        self.server = PlatformServer(rules)
        self.server.bind("127.0.0.1", 0)
        self.server.add(app)

    @asynccontextmanager
    async def client(self, token: str = ""):
        await self.server.start()
        async with grpc.aio.insecure_channel(self.server.address) as channel:
            yield EchoClient(channel, token or new_key().text)
        await self.server.stop(Stop(), grace_s=1)
        await self.trail.close()
        self.ring.close()

    @property
    def entries(self):
        return list(self.trail._waiting)


@pytest.fixture
def rules(monkeypatch):
    """The table, for the methods of the test's own service."""
    table = {
        f"/{SERVICE}/{kind}": RULE
        for kind in ("Unary", "ServerStream", "ClientStream", "BidiStream", "WritingStream")
    }
    for module in (auth_interceptor, audit_interceptor):
        monkeypatch.setattr(module, "RULES", table)
    return table


def in_project(_: bytes) -> None:
    require_project("chem")


async def test_a_keys_owner_makes_the_call(tmp_path, rules, kind):
    app = EchoApp(in_project)
    bench = Bench(tmp_path, app)
    async with bench.client() as client:
        await client.all_of(kind, b"a")
    assert set(app.callers) == {ADA}


async def test_a_key_that_opens_nothing_is_refused_with_the_reason(tmp_path, rules, kind):
    bench = Bench(tmp_path, EchoApp())
    bench.keeper.verdict = Verdict(None, "the API key k1 was revoked")
    async with bench.client() as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.refusal_of(kind)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert caught.value.details() == "the API key k1 was revoked"
    assert bench.entries == []


async def test_a_role_that_is_missing_everywhere_is_named(tmp_path, rules, kind):
    bench = Bench(tmp_path, EchoApp())
    bench.keeper.verdict = Verdict(Principal("eve", project="chem", role=Role.VIEWER))
    async with bench.client() as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.refusal_of(kind)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert 'needs the role "submitter" in project "chem"' in caught.value.details()
    (entry,) = bench.entries
    assert (entry.actor, entry.action, entry.result) == ("eve", "echo.do", "PERMISSION_DENIED")
    assert entry.detail == caught.value.details()


async def test_an_answer_that_nobody_has_looked_at_is_not_given(tmp_path, rules):
    async with Bench(tmp_path, EchoApp()).client() as client:
        with pytest.raises(grpc.aio.AioRpcError, match="has not said which project"):
            await client.unary()


async def test_a_method_without_a_row_is_for_administrators_only(tmp_path):
    bench = Bench(tmp_path, EchoApp())
    async with bench.client() as client:
        with pytest.raises(grpc.aio.AioRpcError, match='"admin" in every project'):
            await client.unary()


@pytest.mark.parametrize("stream", STREAMS)
async def test_an_open_stream_ends_soon_after_its_key(tmp_path, rules, stream):
    async def stay(_: bytes) -> None:
        require_project("chem")
        if stream == "ServerStream":
            await asyncio.Event().wait()

    bench = Bench(tmp_path, EchoApp(stay))
    async with bench.client() as client:
        path = f"/{SERVICE}/{stream}"
        if stream == "ServerStream":
            call = client._channel.unary_stream(path)(b"a", metadata=client._metadata)
        else:
            call = client._channel.stream_stream(path)(metadata=client._metadata)
            await call.write(b"a")
            assert await call.read() == b"echo a"
        await asyncio.sleep(0)
        bench.keeper.verdict = Verdict(None, "the API key k1 was revoked")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await asyncio.wait_for(call.read(), 10)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_stream_asks_once_however_much_goes_through_it(tmp_path, rules):
    bench = Bench(tmp_path, EchoApp(in_project))
    bench.ring._times = Times(fresh_s=60)
    async with bench.client() as client:
        await client.all_of("BidiStream", *[b"a"] * 500)
        await client.all_of("BidiStream", *[b"a"] * 500)
    assert bench.keeper.asked == 1


async def test_what_was_done_is_written_down_with_who_and_where(tmp_path, rules):
    bench = Bench(tmp_path, EchoApp(in_project))
    async with bench.client() as client:
        front = {"x-forwarded-for": "203.0.113.9", "x-request-id": "r1"}
        token = client._metadata[0][1].removeprefix("Bearer ")
        await client.with_token(token, **front).unary()
    (entry,) = bench.entries
    assert (entry.actor, entry.key_id, entry.project, entry.result) == ("ada", "k1", "chem", "OK")
    assert (entry.origin, entry.request_id) == ("203.0.113.9 via 127.0.0.1", "r1")
    assert token not in repr(entry)


async def test_a_failure_is_written_down_with_its_status(tmp_path, rules, kind):
    def fail(_: bytes) -> None:
        require_project("chem")
        raise errors.ConflictError("it has ended")

    bench = Bench(tmp_path, EchoApp(fail))
    async with bench.client() as client:
        with pytest.raises(grpc.aio.AioRpcError):
            await client.all_of(kind, b"a")
    (entry,) = bench.entries
    assert (entry.result, entry.detail) == ("FAILED_PRECONDITION", "it has ended")


async def test_gangs_are_written_down_by_their_job(tmp_path, rules):
    bench = Bench(tmp_path, EchoApp())
    async with bench.client(GANG_TOKENS.issue("job_1", 1, "chem", owner="ada")) as client:
        await client.unary()
    (entry,) = bench.entries
    assert (entry.actor, entry.actor_kind, entry.key_id) == ("ada", "gang", "job_1")


async def test_reading_leaves_no_trace(tmp_path, rules):
    rules[f"/{SERVICE}/Unary"] = Rule(Role.VIEWER, Scope.ANYWHERE)
    bench = Bench(tmp_path, EchoApp())
    async with bench.client() as client:
        await client.unary()
    assert bench.entries == []
