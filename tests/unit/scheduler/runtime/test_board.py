from __future__ import annotations

import asyncio
from dataclasses import replace

from gridloom_services.scheduler.runtime.base import Phase, ReplicaStatus
from gridloom_services.scheduler.runtime.board import StatusBoard

STARTING = ReplicaStatus("job_a-a1", "main", 0, Phase.STARTING, "local", 0)
RUNNING = replace(STARTING, phase=Phase.RUNNING)
ENDED = replace(RUNNING, phase=Phase.ENDED)


async def read(board: StatusBoard) -> list[ReplicaStatus]:
    return [status async for status in board.watch()]


async def test_what_is_no_news_is_told_once():
    board = StatusBoard()
    board.post(RUNNING)
    reader = asyncio.create_task(read(board))
    await asyncio.sleep(0)
    board.post(RUNNING)
    board.close()
    assert await reader == [RUNNING]


async def test_an_end_is_the_last_word():
    board = StatusBoard()
    board.post(ENDED)
    board.post(RUNNING)
    board.close()
    assert await read(board) == [ENDED]


async def test_a_late_reader_sees_the_newest_of_each_and_the_oldest_news_first():
    board = StatusBoard()
    other = replace(STARTING, index=1)
    board.post(STARTING)
    board.post(other)
    board.post(RUNNING)
    board.close()
    assert await read(board) == [RUNNING, other]


async def test_what_is_removed_is_not_told_to_who_has_not_read_it():
    board = StatusBoard()
    board.post(STARTING)
    watch = board.watch()
    assert await anext(watch) == STARTING
    board.post(ENDED)
    board.remove("job_a-a1")
    board.close()
    assert [status async for status in watch] == []
    assert board.of("job_a-a1") == []


async def test_readers_that_have_gone_cost_nothing():
    board = StatusBoard()
    board.post(STARTING)
    watch = board.watch()
    await anext(watch)
    await watch.aclose()
    board.post(RUNNING)
    assert not board._readers
