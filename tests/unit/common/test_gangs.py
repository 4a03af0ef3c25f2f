from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
import pytest
from gridloom.api.scheduler.v1 import access_pb2, access_pb2_grpc
from gridloom_services.common.channels import ServiceChannels
from gridloom_services.common.errors import UnauthenticatedError, UnavailableError
from gridloom_services.common.gangs import gangs_of
from gridloom_services.common.tokens import GangTokens

if TYPE_CHECKING:
    from gridloom_services.common.auth import Principal

TOKENS = GangTokens(b"0" * 32)
FIRST, SECOND, ELEMENT = (
    TOKENS.verify(TOKENS.issue(*words))
    for words in (("job_1", 1, "chem"), ("job_1", 2, "chem"), ("job_2", 1, "chem", 7))
)


class Scheduler(access_pb2_grpc.AccessServiceServicer):
    """Says who lives; of an older version it says nothing of gangs."""

    def __init__(self) -> None:
        self.over = set()
        self.asked = []
        self.is_old = False

    async def VerifyKeys(self, request, context):  # noqa: N802
        names = [
            (each.job_id, each.attempt, each.element if each.HasField("element") else None)
            for each in request.gangs
        ]
        self.asked.append(names)
        answer = access_pb2.VerifyKeysResponse()
        if not self.is_old:
            for name in names:
                answer.gangs.add(is_over=name in self.over)
        return answer


class Bench:
    """A service that asks a scheduler elsewhere."""

    def __init__(self, channels: ServiceChannels, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.now = 0.0
        self.gangs = gangs_of(GangTokens(b"0" * 32), channels, 5.0)
        self.gangs._clock = lambda: self.now

    async def is_let_in(self, gang: Principal) -> bool:
        try:
            return await self.gangs.principal(gang) == gang
        except UnauthenticatedError:
            return False


@asynccontextmanager
async def running(scheduler: Scheduler):
    server = grpc.aio.server()
    access_pb2_grpc.add_AccessServiceServicer_to_server(scheduler, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channels = ServiceChannels("token", {"scheduler": f"127.0.0.1:{port}"})
    try:
        yield channels, server
    finally:
        await channels.close()
        await server.stop(None)


@pytest.fixture
async def bench():
    scheduler = Scheduler()
    async with running(scheduler) as (channels, _):
        yield Bench(channels, scheduler)


async def test_the_token_of_a_gang_that_is_over_opens_nothing(bench):
    bench.scheduler.over = {("job_1", 1, None)}
    with pytest.raises(UnauthenticatedError, match="attempt 1 of job_1 is over"):
        await bench.gangs.principal(FIRST)
    assert await bench.is_let_in(SECOND)
    assert await bench.is_let_in(ELEMENT)
    assert [name for names in bench.scheduler.asked for name in names] == [
        ("job_1", 1, None),
        ("job_1", 2, None),
        ("job_2", 1, 7),
    ]


async def test_however_often_a_gang_calls_it_is_asked_about_once_in_five_seconds(bench):
    for bench.now, questions in ((0, 1), (4.9, 1), (5, 2), (9.9, 2), (10, 3)):
        assert await bench.is_let_in(FIRST)
        assert len(bench.scheduler.asked) == questions
    bench.scheduler.over = {("job_1", 1, None)}
    bench.now = 15
    assert not await bench.is_let_in(FIRST)


async def test_of_an_older_scheduler_that_says_nothing_of_gangs_all_live(bench):
    bench.scheduler.is_old = True
    assert await bench.is_let_in(FIRST)


async def test_while_the_scheduler_is_away_who_lived_lives_on_and_who_is_new_waits():
    scheduler = Scheduler()
    async with running(scheduler) as (channels, server):
        bench = Bench(channels, scheduler)
        assert await bench.is_let_in(FIRST)
        await server.stop(None)
        bench.now = 24 * 3600
        assert await bench.is_let_in(FIRST)
        with pytest.raises(UnavailableError, match="whether this job's token still holds"):
            await bench.gangs.principal(SECOND)


async def test_where_nobody_has_said_who_the_scheduler_is_the_signature_counts():
    gangs = gangs_of(TOKENS, ServiceChannels("token", {}), 5.0)
    assert await gangs.principal(FIRST) == FIRST


async def test_in_the_schedulers_own_process_the_answer_is_always_the_newest():
    tokens, over = GangTokens(b"0" * 32), set()
    gangs = gangs_of(tokens, ServiceChannels("token", {}), 5.0)
    tokens.set_liveness(lambda gang: gang not in over)
    assert await gangs.principal(FIRST) == FIRST
    over.add(FIRST)
    with pytest.raises(UnauthenticatedError, match="attempt 1 of job_1 is over"):
        await gangs.principal(FIRST)
