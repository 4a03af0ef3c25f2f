"""Objects over both databases and a store in memory or of files."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import hashlib
import os
import uuid
from typing import TYPE_CHECKING

import pytest
from gridloom_services.common.errors import (
    InvalidRequestError,
    NotFoundError,
    PayloadTooLargeError,
    StorageFullError,
    UnavailableError,
)
from gridloom_services.common.store import Database
from gridloom_services.objects.objects import Objects, Policy
from gridloom_services.objects.ref import ObjectRef
from gridloom_services.objects.schema import SCHEMA
from gridloom_services.objects.store.files import LocalFiles
from gridloom_services.objects.store.memory import MemoryContents

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gridloom_services.objects.store.base import ContentStore

CHUNK = 1000
DAY = 24 * 3600.0
POLICY = Policy(max_object_bytes=10_000, retention_s=DAY, reserve_bytes=0, chunk_bytes=CHUNK)


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class House:
    """The objects of a test, with what they are made of."""

    def __init__(self, database: Database, contents: ContentStore, policy: Policy) -> None:
        self.clock = Clock()
        self.contents = contents
        self.objects = Objects(database, contents, policy, self.clock)

    async def put(self, content: bytes, holder: str = "") -> ObjectRef:
        ref = ref_of(content)
        await self.objects.put(ref, chunks_of(content), holder)
        return ref

    async def get(self, ref: ObjectRef, offset: int = 0, length: int = 0) -> bytes:
        async with self.objects.reading(ref.digest, offset, length) as (found, chunks):
            assert found == ref
            return b"".join([chunk async for chunk in chunks])

    async def exists(self, ref: ObjectRef) -> bool:
        return await self.objects.find([ref.digest]) == [ref]

    def stored(self) -> list[str]:
        return sorted(self.contents.digests())


def ref_of(content: bytes) -> ObjectRef:
    return ObjectRef(f"sha256:{hashlib.sha256(content).hexdigest()}", len(content))


async def chunks_of(content: bytes, size: int = CHUNK) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def opened(url: str, contents: ContentStore, policy: Policy = POLICY):
    contents.open()
    database = await Database.open(url, SCHEMA)
    house = House(database, contents, policy)
    yield house
    await house.objects.close()
    await database.close()


@pytest.fixture(params=[0, 1500], ids=["files", "inline"])
def policy(request):
    """All contents in files, or the small ones in their rows."""
    return dataclasses.replace(POLICY, inline_bytes=request.param)


@pytest.fixture
async def house(database_url, tmp_path, policy):
    async for each in opened(database_url, LocalFiles(tmp_path), policy):
        yield each


@pytest.fixture
async def house_of_files(database_url, tmp_path):
    async for each in opened(database_url, LocalFiles(tmp_path)):
        yield each


@pytest.fixture
async def small_house(sqlite_url):
    """Two thousand bytes of room."""
    async for each in opened(sqlite_url, MemoryContents(2000)):
        yield each


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK])
async def test_what_was_put_is_read_whole(house, size):
    content = os.urandom(size)
    ref = await house.put(content)
    assert await house.get(ref) == content


async def test_it_is_there_for_those_who_come_later(sqlite_url, tmp_path):
    async for house in opened(sqlite_url, LocalFiles(tmp_path)):
        ref = await house.put(b"kept")
    async for house in opened(sqlite_url, LocalFiles(tmp_path)):
        assert await house.get(ref) == b"kept"


async def test_a_second_put_says_that_it_existed_and_reads_nothing(house):
    ref = await house.put(b"once")

    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("a chunk was read")
        yield b""

    assert await house.objects.put(ref, never()) is True
    assert await house.objects.put(ref_of(b"other"), chunks_of(b"other")) is False


async def test_a_get_is_resumed_at_its_offset(house):
    content = os.urandom(4500)
    ref = await house.put(content)
    assert await house.get(ref, offset=2300) == content[2300:]
    assert await house.get(ref, offset=100, length=1500) == content[100:1600]
    assert await house.get(ref, offset=4400, length=1500) == content[4400:]
    assert await house.get(ref, offset=4500) == b""


@pytest.mark.parametrize(("offset", "length"), [(-1, 0), (6, 0), (0, -1)])
async def test_a_range_outside_of_the_object_is_refused(house, offset, length):
    ref = await house.put(b"12345")
    with pytest.raises(InvalidRequestError, match="has 5 bytes"):
        await house.get(ref, offset, length)


async def test_what_does_not_exist_is_not_found(house):
    with pytest.raises(NotFoundError, match="there is no object sha256:"):
        await house.get(ref_of(b"never put"))


async def test_a_content_with_another_digest_is_refused_and_not_kept(house):
    lie = ObjectRef(ref_of(b"truth").digest, 5)
    with pytest.raises(InvalidRequestError, match="does not have the digest") as caught:
        await house.objects.put(lie, chunks_of(b"false"))
    assert caught.value.details["allowed"] == ref_of(b"false").digest
    assert house.stored() == []
    assert not await house.exists(lie)


@pytest.mark.parametrize("size", [4, 6])
async def test_a_content_of_another_size_is_refused_and_not_kept(house, size):
    lie = ObjectRef(ref_of(b"truth").digest, size)
    with pytest.raises(InvalidRequestError, match="announced"):
        await house.objects.put(lie, chunks_of(b"truth", 1))
    assert house.stored() == []


async def test_a_wrong_size_is_refused_also_where_the_object_exists(house):
    ref = await house.put(b"truth")
    with pytest.raises(InvalidRequestError, match="has 5 bytes, not 6"):
        await house.objects.put(ObjectRef(ref.digest, 6), chunks_of(b"truth"))


async def test_a_chunk_over_the_limit_is_refused(house):
    content = bytes(CHUNK + 1)
    with pytest.raises(InvalidRequestError, match="a chunk has 1001 bytes"):
        await house.objects.put(ref_of(content), chunks_of(content, CHUNK + 1))


async def test_an_object_over_the_limit_is_refused_before_a_byte_is_read(house):
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("a chunk was read")
        yield b""

    with pytest.raises(PayloadTooLargeError, match="of 10001 bytes is over the limit of 10000"):
        await house.objects.put(ObjectRef(ref_of(b"").digest, 10_001), never())


async def test_a_put_that_breaks_off_leaves_nothing(house):
    async def broken() -> AsyncIterator[bytes]:
        yield b"begin"
        raise ConnectionError("client gone")

    with pytest.raises(ConnectionError):
        await house.objects.put(ref_of(b"beginning"), broken())
    assert house.stored() == []


async def test_a_cancelled_put_leaves_no_draft(house, tmp_path):
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"begin"
        begun.set()
        await asyncio.sleep(60)

    putting = asyncio.ensure_future(house.objects.put(ref_of(b"beginning"), endless()))
    await begun.wait()
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    await house.objects.close()
    assert list((tmp_path / "drafts").iterdir()) == []


async def test_many_may_put_the_same_at_once(house):
    content = os.urandom(3000)
    refs = await asyncio.gather(*(house.put(content, f"job_{n}") for n in range(8)))
    assert set(refs) == {ref_of(content)}
    assert await house.get(refs[0]) == content
    assert house.stored() == [refs[0].digest]


def left(tmp_path: Path, content: bytes) -> str:
    """A draft as a process of this machine leaves it."""
    name = uuid.uuid4().hex
    (tmp_path / "drafts" / name).write_bytes(content)
    return name


async def test_a_draft_that_was_left_is_stored_and_held_without_a_chunk(house, tmp_path):
    content = os.urandom(3000)
    ref = ref_of(content)
    name = left(tmp_path, content)
    assert not await house.objects.put(ref, chunks_of(b""), "job_1", name)
    assert await house.get(ref) == content
    assert list((tmp_path / "drafts").iterdir()) == []
    house.clock.now += 2 * DAY
    assert await house.objects.sweep() == 0
    # The answer was lost, and it is asked for again: the draft is not needed any more.
    assert await house.objects.put(ref, chunks_of(b""), "job_1", name)


async def test_a_draft_that_nobody_left_or_not_whole_is_refused(house, tmp_path):
    ref = ref_of(b"content")
    for name in (left(tmp_path, b"conten"), "0" * 32, "../objects.db"):
        with pytest.raises(InvalidRequestError, match="there is no draft"):
            await house.objects.put(ref, chunks_of(b"content"), left=name)
    assert house.stored() == []


async def test_a_draft_that_has_taken_what_is_kept_for_the_platform_is_refused(
    sqlite_url, tmp_path
):
    policy = dataclasses.replace(POLICY, reserve_bytes=1 << 60)
    async for house in opened(sqlite_url, LocalFiles(tmp_path), policy):
        with pytest.raises(StorageFullError, match="kept for the platform"):
            await house.objects.put(ref_of(b"x"), chunks_of(b""), left=left(tmp_path, b"x"))


async def test_a_small_content_is_in_its_row_and_makes_no_file(sqlite_url, tmp_path):
    policy = dataclasses.replace(POLICY, inline_bytes=10)
    async for house in opened(sqlite_url, LocalFiles(tmp_path), policy):
        small, large = await house.put(b"x" * 10), await house.put(b"x" * 11)
        assert house.stored() == [large.digest]
        assert await house.get(small, 2, 3) == b"xxx"
        assert await house.objects.put(small, chunks_of(b"")) is True
        assert await house.objects.scan() == 0


async def test_what_was_stored_under_another_policy_stays_readable(sqlite_url, tmp_path):
    refs = []
    for inline_bytes in (0, 10, 0):
        policy = dataclasses.replace(POLICY, inline_bytes=inline_bytes)
        async for house in opened(sqlite_url, LocalFiles(tmp_path), policy):
            refs.append(await house.put(f"under {len(refs)}".encode()))
            assert [await house.get(ref) for ref in refs] == [
                f"under {number}".encode() for number in range(len(refs))
            ]


# ---- a full disk


async def test_an_object_for_which_there_is_no_room_is_refused_at_once(small_house):
    with pytest.raises(StorageFullError, match="of 2001 bytes: 2000 are free"):
        await small_house.put(bytes(2001))


async def test_a_disk_that_fills_up_on_the_way_refuses_the_object_and_keeps_the_others(small_house):
    kept = await small_house.put(bytes(500))

    async def while_others_write() -> AsyncIterator[bytes]:
        yield bytes(700)
        draft = small_house.contents.draft()
        draft.write(bytes(700))
        yield bytes(700)

    with pytest.raises(OSError, match="No space") as caught:
        await small_house.objects.put(ref_of(bytes(1400)), while_others_write())
    assert caught.value.errno == errno.ENOSPC
    assert await small_house.get(kept) == bytes(500)
    assert small_house.stored() == [kept.digest]


async def test_a_full_database_refuses_the_object_and_keeps_no_content(sqlite_url):
    contents = MemoryContents()
    contents.open()
    database = await Database.open(sqlite_url, SCHEMA)
    house = House(database, contents, POLICY)
    (pages,) = database.raw.execute("PRAGMA page_count").fetchone()
    database.raw.execute(f"PRAGMA max_page_count = {pages}")
    refused = 0
    for number in range(200):
        try:
            await house.put(str(number).encode(), holder="h" * 150)
        except StorageFullError:
            refused += 1
    assert refused > 0
    assert len(house.stored()) == 200 - refused
    await house.objects.close()
    await database.close()


async def test_what_the_disk_does_not_keep_may_be_put_again(
    house_of_files, monkeypatch: pytest.MonkeyPatch
):
    def failing(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    content = bytes(range(256)) * 4
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", failing)
        with pytest.raises(UnavailableError, match=r"\(Input/output error\); nothing was"):
            await house_of_files.put(content)
    assert house_of_files.stored() == []
    ref = await house_of_files.put(content)
    assert await house_of_files.get(ref) == content


# ---- for how long


async def test_what_nobody_held_or_used_for_the_retention_goes(house_of_files):
    old = await house_of_files.put(b"old")
    house_of_files.clock.now += DAY / 2
    young = await house_of_files.put(b"young")
    house_of_files.clock.now += DAY / 2 + 1
    assert await house_of_files.objects.sweep() == 1
    assert house_of_files.stored() == [young.digest]
    assert await house_of_files.objects.find([old.digest, young.digest]) == [None, young]


async def test_reading_asking_or_putting_again_keeps_an_object(house_of_files):
    refs = [await house_of_files.put(content) for content in (b"read", b"asked", b"put", b"left")]
    house_of_files.clock.now += DAY * 0.9
    await house_of_files.get(refs[0])
    await house_of_files.objects.find([refs[1].digest])
    await house_of_files.put(b"put")
    house_of_files.clock.now += DAY * 0.2
    assert await house_of_files.objects.sweep() == 1
    assert set(house_of_files.stored()) == {ref.digest for ref in refs[:3]}


async def test_a_held_object_stays_until_it_is_released(house):
    await house.put(b"at once", holder="job_1")
    later = await house.put(b"later")
    assert await house.objects.hold("job_1", [later.digest]) == []
    house.clock.now += 10 * DAY
    assert await house.objects.sweep() == 0
    await house.objects.release("job_1")
    assert await house.objects.sweep() == 0
    house.clock.now += DAY + 1
    assert await house.objects.sweep() == 2
    assert house.stored() == []


async def test_putting_what_exists_holds_it(house):
    await house.put(b"shared", holder="job_1")
    ref = await house.put(b"shared", holder="job_2")
    await house.objects.release("job_1")
    house.clock.now += 10 * DAY
    await house.objects.sweep()
    assert await house.get(ref) == b"shared"


async def test_holding_what_does_not_exist_says_so(house):
    ref = await house.put(b"there")
    gone = ref_of(b"gone").digest
    assert await house.objects.hold("job_1", [gone, ref.digest]) == [gone]


async def test_releasing_what_nobody_holds_is_fine(house):
    await house.objects.release("job_never_seen")


async def test_a_sweep_of_many_takes_them_all(sqlite_url):
    async for house in opened(sqlite_url, MemoryContents()):
        for number in range(1100):
            await house.put(str(number).encode())
        house.clock.now += DAY + 1
        assert await house.objects.sweep() == 1100
        assert house.stored() == []


# ---- after crashes


async def test_a_content_whose_row_was_never_written_is_removed_by_the_scan(house_of_files):
    kept = await house_of_files.put(b"kept")
    draft = house_of_files.contents.draft()
    draft.write(b"litter")
    draft.commit(ref_of(b"litter").digest)
    assert await house_of_files.objects.scan() == 1
    assert house_of_files.stored() == [kept.digest]


async def test_an_object_whose_content_was_taken_away_is_not_found_and_can_be_put_again(
    house_of_files,
):
    ref = await house_of_files.put(b"precious")
    house_of_files.contents.remove(ref.digest)
    with pytest.raises(NotFoundError, match="gone from the store"):
        await house_of_files.get(ref)
    assert not await house_of_files.exists(ref)
    await house_of_files.put(b"precious")
    assert await house_of_files.get(ref) == b"precious"


async def test_a_put_replaces_a_content_that_was_cut_short(house_of_files):
    ref = await house_of_files.put(b"precious")
    draft = house_of_files.contents.draft()
    draft.write(b"prec")
    draft.commit(ref.digest)
    await house_of_files.put(b"precious")
    assert await house_of_files.get(ref) == b"precious"


async def test_puts_sweeps_and_scans_may_run_at_once(house):
    contents = [bytes([n]) * 50 for n in range(20)]

    async def put_all() -> None:
        for content in contents:
            await house.put(content)

    async def clean() -> None:
        for _ in range(10):
            await house.objects.scan()
            await house.objects.sweep()

    await asyncio.gather(put_all(), put_all(), clean(), clean())
    for content in contents:
        assert await house.get(ref_of(content)) == content
