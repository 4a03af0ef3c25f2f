from __future__ import annotations

import asyncio

import pytest
from gridloom_services.common.auth import Principal
from gridloom_services.common.errors import UnauthenticatedError, UnavailableError
from gridloom_services.common.keyring import KeyRing
from gridloom_services.common.keys import KeyHasher, new_key
from gridloom_services.common.ring import Times, Verdict
from gridloom_services.common.roles import Role

ADA = Principal("ada", project="chem", role=Role.SUBMITTER, key_id="k")
HASHER = KeyHasher(b"0" * 32)
TIMES = Times(fresh_s=5.0, hold_s=60.0, refused_s=1.0)


class Keeper:
    """Who keeps the keys, in another process."""

    is_immediate = False

    def __init__(self) -> None:
        self.verdict = Verdict(ADA)
        self.is_away = False
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def verdicts(self, proofs):
        self.asked += 1
        await self.may_answer.wait()
        if self.is_away:
            raise UnavailableError("away")
        return [self.verdict] * len(proofs)


class Bench:
    def __init__(self, keeper=None) -> None:
        self.now = 0.0
        self.keeper = keeper or Keeper()
        self.ring = KeyRing(
            HASHER, self.keeper, TIMES, clock=lambda: self.now, wall=lambda: self.now
        )
        self.proof = self.ring.proof(new_key().text)

    async def whose(self):
        return await self.ring.principal(self.proof)


@pytest.fixture
async def bench():
    bench = Bench()
    yield bench
    bench.ring.close()


async def test_an_answer_is_remembered_while_it_is_fresh_and_asked_again_then(bench):
    for now, asked in ((0, 1), (4.9, 1), (5, 2), (9.9, 2), (10, 3)):
        bench.now = now
        assert await bench.whose() == ADA
        assert bench.keeper.asked == asked


async def test_a_revoked_key_opens_nothing_when_the_answer_is_no_longer_fresh(bench):
    await bench.whose()
    bench.keeper.verdict = Verdict(None, "it was revoked")
    bench.now = 4.9
    assert await bench.whose() == ADA
    bench.now = 5
    with pytest.raises(UnauthenticatedError, match="it was revoked"):
        await bench.whose()


async def test_a_refusal_is_remembered_too_but_for_less_long(bench):
    bench.keeper.verdict = Verdict(None, "it is not known")
    for now, asked in ((0, 1), (0.9, 1), (1.0, 2)):
        bench.now = now
        with pytest.raises(UnauthenticatedError):
            await bench.whose()
        assert bench.keeper.asked == asked


async def test_many_calls_at_once_are_one_question(bench):
    bench.keeper.may_answer.clear()
    calls = [asyncio.create_task(bench.whose()) for _ in range(100)]
    await asyncio.sleep(0)
    calls[0].cancel()
    await asyncio.sleep(0)
    bench.keeper.may_answer.set()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert answers[1:] == [ADA] * 99
    assert bench.keeper.asked == 1


async def test_while_nobody_answers_a_known_key_holds_for_its_time(bench):
    await bench.whose()
    bench.keeper.is_away = True
    for now in (5.0, 30.0, 59.9):
        bench.now = now
        assert await bench.whose() == ADA
    bench.now = 60.0
    with pytest.raises(UnavailableError):
        await bench.whose()
    bench.keeper.is_away = False
    assert await bench.whose() == ADA


async def test_an_unknown_key_is_not_called_wrong_while_nobody_answers(bench):
    bench.keeper.is_away = True
    with pytest.raises(UnavailableError, match="still holds: away"):
        await bench.whose()


async def test_who_does_not_answer_is_not_asked_by_each_call(bench):
    await bench.whose()
    bench.keeper.is_away = True
    bench.now = 6.0
    for _ in range(50):
        await bench.whose()
    assert bench.keeper.asked == 2


async def test_a_key_that_has_expired_meanwhile_is_not_believed(bench):
    bench.keeper.verdict = Verdict(ADA, expires_at=3.0)
    assert await bench.whose() == ADA
    bench.now = 3.0
    with pytest.raises(UnauthenticatedError, match="expired"):
        await bench.whose()
    assert bench.keeper.asked == 1


async def test_what_is_remembered_is_bounded(bench, monkeypatch):
    monkeypatch.setattr("gridloom_services.common.ring._MOST_REMEMBERED", 10)
    for _ in range(50):
        await bench.ring.principal(bench.ring.proof(new_key().text))
    assert len(bench.ring._known) == 10


async def test_a_text_that_is_half_a_key_is_refused_without_asking(bench):
    with pytest.raises(UnauthenticatedError, match="not whole"):
        bench.ring.proof("glk_abc")
    assert bench.keeper.asked == 0


async def test_where_the_keys_are_kept_every_answer_is_the_newest():
    keeper = Keeper()
    keeper.is_immediate = True
    bench = Bench(keeper)
    await bench.whose()
    keeper.verdict = Verdict(None, "revoked")
    with pytest.raises(UnauthenticatedError):
        await bench.whose()


class TestStreams:
    async def stream(self, bench, ready):
        with bench.ring.watching(bench.proof, await bench.whose()):
            ready.set()
            await asyncio.Event().wait()

    async def opened(self, bench):
        ready = asyncio.Event()
        stream = asyncio.create_task(self.stream(bench, ready))
        await ready.wait()
        return stream

    @pytest.mark.parametrize("is_immediate", [False, True])
    async def test_a_stream_ends_with_its_key(self, bench, is_immediate):
        bench.keeper.is_immediate = is_immediate
        stream = await self.opened(bench)
        await bench.ring.look_at_streams()
        await asyncio.sleep(0)
        assert not stream.done()
        bench.keeper.verdict = Verdict(None, "the API key k was revoked")
        await bench.ring.look_at_streams()
        with pytest.raises(UnauthenticatedError, match="k was revoked"):
            await stream

    async def test_a_stream_whose_key_may_less_now_has_to_come_again(self, bench):
        stream = await self.opened(bench)
        bench.keeper.verdict = Verdict(Principal("ada", project="chem", role=Role.VIEWER))
        await bench.ring.look_at_streams()
        with pytest.raises(UnavailableError, match="have changed"):
            await stream

    async def test_streams_go_on_while_nobody_answers_but_not_for_ever(self, bench):
        stream = await self.opened(bench)
        bench.keeper.is_away = True
        bench.now = 59.0
        await bench.ring.look_at_streams()
        await asyncio.sleep(0)
        assert not stream.done()
        bench.now = 60.0
        await bench.ring.look_at_streams()
        with pytest.raises(UnavailableError):
            await stream

    async def test_any_number_of_streams_is_one_question_a_look(self, bench):
        streams = [await self.opened(bench) for _ in range(20)]
        asked = bench.keeper.asked
        await bench.ring.look_at_streams()
        assert bench.keeper.asked == asked + 1
        for stream in streams:
            stream.cancel()
        ends = await asyncio.gather(*streams, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)
        assert not bench.ring._streams

    async def test_streams_are_looked_at_by_themselves(self):
        bench = Bench()
        bench.ring._times = Times(fresh_s=0.01)
        stream = await self.opened(bench)
        bench.keeper.verdict = Verdict(None, "revoked")
        with pytest.raises(UnauthenticatedError):
            await asyncio.wait_for(stream, 10)
        bench.ring.close()
