from __future__ import annotations

import asyncio
import logging

from gridloom_services.common.background import Background

from tests.support.eventually import eventually


async def test_repeated_work_goes_on_after_a_failure(caplog):
    rounds = []

    async def work() -> None:
        rounds.append(len(rounds))
        if len(rounds) == 1:
            raise RuntimeError("the first time")

    background = Background()
    with caplog.at_level(logging.ERROR):
        background.repeat(work, 0, "count")
        await eventually(lambda: len(rounds) > 2)
    await background.close()
    assert [record.getMessage() for record in caplog.records] == ["count failed"]


async def test_close_ends_what_still_runs():
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    background = Background()
    background.start(work(), "sleep")
    await asyncio.sleep(0)
    await background.close()
    assert ended.is_set()
