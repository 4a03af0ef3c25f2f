from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from gridloom_services.common.errors import NotFoundError
from gridloom_services.scheduler.logs import LogQuery, LogReader, first_of_last_lines
from gridloom_services.scheduler.runtime.base import LogStream
from gridloom_services.scheduler.runtime.memory_cluster import Behaviour
from gridloom_services.scheduler.spec import RetryPolicy
from gridloom_services.scheduler.states import FailureClass

from tests.support.scheduler import Platform, a_role, a_spec, an_array

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gridloom_services.scheduler.logs import LogPart
    from gridloom_services.scheduler.runtime.base import Gang

OUT, ERR = LogStream.STDOUT, LogStream.STDERR


@pytest.fixture(params=["files", "objects"])
async def platform(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Platform]:
    """Each replica prints who it is; what it printed is kept in files, or stored as pods do it."""

    def script(gang: Gang, role: str, index: int) -> Behaviour:
        who = f"{gang.name.partition('-a')[2]} {role}.{index} {gang.element}\n"
        return Behaviour(None, stdout=f"out {who}".encode() * 3, stderr=f"err {who}".encode())

    platform = Platform(tmp_path, script)
    if request.param == "objects":
        platform.cluster.stored = platform.keeper.contents
    await platform.begin()
    yield platform
    await platform.end()


async def parts(platform: Platform, job_id: str, **query: Any) -> list[LogPart]:
    (target,) = await platform.control.targets([job_id])
    reader = LogReader(platform.control, platform.store, platform.runtime, platform.archive)
    return [part async for part in reader.read(target, LogQuery(**query))]


async def text(platform: Platform, job_id: str, **query: Any) -> str:
    return b"".join([part.data for part in await parts(platform, job_id, **query)]).decode()


@pytest.mark.parametrize(
    ("data", "lines", "rest"),
    [
        (b"a\nb\nc\n", 2, b"b\nc\n"),
        (b"a\nb\nc", 2, b"b\nc"),
        (b"a\nb\n", 1, b"b\n"),
        (b"\n\n\n", 2, b"\n\n"),
        (b"a\nb\n", 2, None),
        (b"a\nb\n", 3, None),
        (b"", 1, None),
    ],
)
def test_the_last_lines_begin_after_the_line_before_them(
    data: bytes, lines: int, rest: bytes | None
):
    found = first_of_last_lines(data, lines)
    assert (None if found is None else data[found:]) == rest


async def test_logs_are_there_while_it_runs_after_the_end_and_after_a_restart(platform: Platform):
    (job_id,) = await platform.submit()
    expected = "out 1 main.0 None\n" * 3 + "err 1 main.0 None\n"
    assert await text(platform, job_id) == expected
    await platform.finish(f"{job_id}-a1")
    assert platform.cluster.gangs == {}
    assert await text(platform, job_id) == expected
    await platform.restart()
    assert await text(platform, job_id) == expected


async def test_logs_survive_a_crash_at_any_moment_of_their_keeping(
    platform: Platform, subtests: pytest.Subtests
):
    for moment in range(12):
        with subtests.test(moment=moment):
            (job_id,) = await platform.submit()
            platform.fate.left = moment
            await platform.finish(f"{job_id}-a1")
            await platform.bury()
            await platform.settle()
            assert platform.cluster.gangs == {}
            assert await text(platform, job_id, index=0) == (
                "out 1 main.0 None\n" * 3 + "err 1 main.0 None\n"
            )


async def test_a_job_that_has_not_started_has_no_logs(platform: Platform):
    (job_id,) = await platform.submit(a_spec(hold=True))
    assert await text(platform, job_id) == ""


async def test_each_part_says_whose_it_is_and_where_it_begins(platform: Platform):
    (job_id,) = await platform.submit(a_spec(a_role(replicas=2)))
    found = await parts(platform, job_id)
    assert [(p.source.index, p.source.stream, p.offset) for p in found] == [
        (0, OUT, 0),
        (0, ERR, 0),
        (1, OUT, 0),
        (1, ERR, 0),
    ]


async def test_role_replica_stream_and_attempt_are_chosen(platform: Platform):
    policy = RetryPolicy({FailureClass.APPLICATION_ERROR: 1}, backoff_us=0)
    roles = (a_role("a", replicas=2), a_role("b"))
    (job_id,) = await platform.submit(a_spec(*roles, retry=policy))
    await platform.finish(f"{job_id}-a1", "a", 0, exit_code=1)
    assert await text(platform, job_id, role="b", streams=(ERR,)) == "err 2 b.0 None\n"
    assert await text(platform, job_id, role="a", index=1, streams=(ERR,)) == "err 2 a.1 None\n"
    assert await text(platform, job_id, attempt=1, role="b", streams=(ERR,)) == "err 1 b.0 None\n"
    with pytest.raises(NotFoundError, match="has had no attempt 9; its attempts: 1"):
        await text(platform, job_id, attempt=9)


@pytest.mark.parametrize("ended", [False, True])
async def test_from_an_offset_and_the_last_lines(platform: Platform, *, ended: bool):
    (job_id,) = await platform.submit()
    if ended:
        await platform.finish(f"{job_id}-a1")
    assert await text(platform, job_id, streams=(OUT,), offset=18) == "out 1 main.0 None\n" * 2
    assert await text(platform, job_id, streams=(OUT,), offset=999) == ""
    (part,) = await parts(platform, job_id, streams=(OUT,), tail_lines=1)
    assert (part.offset, part.data) == (36, b"out 1 main.0 None\n")
    assert len(await text(platform, job_id, tail_lines=50)) == 4 * 18


async def test_an_array_has_the_logs_of_its_elements(platform: Platform):
    (job_id,) = await platform.submit(a_spec(array=an_array(3)))
    await platform.finish(f"{job_id}.1-a1")
    found = await parts(platform, job_id, streams=(ERR,))
    assert [part.source.element for part in found] == [0, 1, 2]
    assert await text(platform, f"{job_id}.1", streams=(ERR,)) == "err 1 main.0 1\n"


async def test_following_goes_on_to_the_end_over_attempts(platform: Platform):
    policy = RetryPolicy({FailureClass.APPLICATION_ERROR: 1}, backoff_us=5_000_000)
    (job_id,) = await platform.submit(a_spec(retry=policy, hold=True))
    following = asyncio.ensure_future(text(platform, job_id, streams=(ERR,), follow=True))
    await platform.settle()
    await platform.control.release([job_id])
    await platform.settle()
    await platform.finish(f"{job_id}-a1", exit_code=1)
    await platform.advance(5)
    await platform.finish(f"{job_id}-a2")
    async with asyncio.timeout(10):
        assert await following == "err 1 main.0 None\nerr 2 main.0 None\n"


async def test_following_what_is_over_ends_at_once(platform: Platform):
    (job_id,) = await platform.submit()
    await platform.finish(f"{job_id}-a1")
    async with asyncio.timeout(10):
        assert await text(platform, job_id, follow=True, streams=(ERR,)) == "err 1 main.0 None\n"


async def test_following_the_tail_leaves_out_what_was_before(platform: Platform):
    (job_id,) = await platform.submit()
    following = asyncio.ensure_future(
        text(platform, job_id, streams=(OUT,), follow=True, tail_lines=1)
    )
    await platform.settle()
    await platform.finish(f"{job_id}-a1")
    async with asyncio.timeout(10):
        assert await following == "out 1 main.0 None\n"


async def test_following_sees_replicas_that_come_later(platform: Platform):
    role = a_role("worker", replicas=1, min_replicas=1, elastic=True)
    (job_id,) = await platform.submit(a_spec(role))
    following = asyncio.ensure_future(text(platform, job_id, streams=(ERR,), follow=True))
    await platform.settle()
    await platform.control.resize(job_id, "worker", 2, ())
    await platform.settle()
    await platform.control.cancel([job_id], "x", 1.0)
    await platform.settle()
    async with asyncio.timeout(10):
        assert sorted((await following).splitlines()) == [
            "err 1 worker.0 None",
            "err 1 worker.1 None",
        ]
