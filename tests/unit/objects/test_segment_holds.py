"""Segments of shared memory as holders keep them: over both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from gridloom.api.objects.v1 import objects_pb2
from gridloom.segments import PREFIX, SharedFolder
from gridloom_services.common.errors import NotFoundError
from gridloom_services.common.store import Database
from gridloom_services.objects.objects import Objects, Policy
from gridloom_services.objects.schema import SCHEMA
from gridloom_services.objects.segments import SharedMemory
from gridloom_services.objects.store.memory import MemoryContents

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SIZE = 2 << 20
POLICY = Policy(max_object_bytes=10_000, retention_s=1000.0, reserve_bytes=0, chunk_bytes=1 << 20)


class House:
    """Objects whose shared memory is a folder of the test."""

    def __init__(self, database: Database, root: Path) -> None:
        self.root = root
        segments = SharedMemory(root, root, 0.5)
        self.objects = Objects(database, MemoryContents(), POLICY, segments=segments)

    async def written(self, byte: bytes) -> str:
        told = await self.objects.memory()
        assert told is not None
        process = SharedFolder.found(
            objects_pb2.SharedMemory(folder=str(told.path), mark=told.mark)
        )
        assert process is not None
        places = process.write([memoryview(byte * SIZE)])
        assert places is not None
        return PREFIX + places[0].name

    async def read(self, name: str) -> bytes:
        async with self.objects.reading(name, 1, 3) as (_, chunks):
            return b"".join([chunk async for chunk in chunks])

    def used(self) -> set[str]:
        return {PREFIX + path.name for path in self.root.glob("gridloom-*/used/*")}


@pytest.fixture
async def house(database_url: str, tmp_path: Path) -> AsyncIterator[House]:
    database = await Database.open(database_url, SCHEMA)
    house = House(database, tmp_path)
    yield house
    await house.objects.close()
    await database.close()


async def test_a_segment_is_there_until_its_last_holder_lets_go(house: House):
    name, other = await house.written(b"a"), await house.written(b"b")
    assert await house.objects.hold("call_a_1", [name, other]) == []
    assert await house.objects.hold("call_a_2", [name]) == []
    await house.objects.release("call_a_1")
    assert house.used() == {name}
    await house.objects.release("call_a_2")
    assert house.used() == set()


async def test_what_is_not_there_is_not_held(house: House):
    gone = PREFIX + "a" * 32
    name = await house.written(b"a")
    assert await house.objects.hold("call_a_1", [gone, name, "sha256:unknown"]) == [
        gone,
        "sha256:unknown",
    ]


async def test_a_segment_is_read_by_who_does_not_reach_it(house: House):
    name = await house.written(b"a")
    assert await house.read(name) == b"aaa"
    with pytest.raises(NotFoundError):
        await house.read(PREFIX + "a" * 32)


async def test_held_segments_are_no_litter(house: House):
    name = await house.written(b"a")
    await house.objects.hold("call_a_1", [name])
    await house.objects.tidy_segments()
    await house.objects.close()
    assert house.used() == {name}
