"""Streams in the object store are read as files are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from gridloom.worker.supervision.handover import GAP_SUFFIX
from gridloom.worker.supervision.records import write_record
from gridloom_services.common.errors import UnavailableError
from gridloom_services.scheduler.archive import LogArchive
from gridloom_services.scheduler.inputs import MemoryKeeper
from gridloom_services.scheduler.job import KeptStream
from gridloom_services.scheduler.runtime.base import LogStream, StoredStream
from gridloom_services.scheduler.runtime.memory import MemoryRuntime
from gridloom_services.scheduler.runtime.memory_cluster import Behaviour, MemoryCluster
from gridloom_services.scheduler.runtime.streams import read_stream
from gridloom_services.scheduler.store.memory import MemoryStore

from tests.support.eventually import eventually
from tests.support.runtimes import everywhere, gang

if TYPE_CHECKING:
    from pathlib import Path

GANG = "job_a.7-a2"
WHOLE = bytes(range(100, 130))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def keeper() -> MemoryKeeper:
    return MemoryKeeper()


@pytest.fixture
def archive(tmp_path: Path, store: MemoryStore, keeper: MemoryKeeper) -> LogArchive:
    return LogArchive(tmp_path / "logs", store, keeper)


@pytest.mark.parametrize(("first", "end"), [(0, 0), (0, 5), (10, 20), (10, 30), (29, 30)])
async def test_every_piece_is_the_one_that_a_file_gives(
    archive: LogArchive,
    store: MemoryStore,
    keeper: MemoryKeeper,
    tmp_path: Path,
    first: int,
    end: int,
):
    path = tmp_path / "stdout"
    path.write_bytes(WHOLE)
    if end:
        write_record(
            path.with_name(f"stdout{GAP_SUFFIX}"), {"first": first, "end": end}, durable=False
        )
    keeper.contents["sha256:1"] = WHOLE[:first] + WHOLE[end:] if end else WHOLE
    kept = KeptStream(StoredStream("sha256:1", first, end), len(keeper.contents["sha256:1"]))
    await store.keep_streams(GANG, {"main.0.stdout": kept})
    for offset in range(-35, 35):
        for limit in (1, 7, 64):
            stored = await archive.read(GANG, "main", 0, LogStream.STDOUT, offset, limit)
            assert stored == read_stream(path, offset, limit, is_over=True), (offset, limit)


async def test_a_stream_that_nobody_kept_is_empty(archive: LogArchive):
    chunk = await archive.read(GANG, "main", 0, LogStream.STDOUT, 0, 64)
    assert (chunk.data, chunk.complete) == (b"", True)


async def test_what_the_store_has_lost_is_said_once(archive: LogArchive, store: MemoryStore):
    kept = KeptStream(StoredStream("sha256:1"), 30)
    await store.keep_streams(GANG, {"main.0.stdout": kept})
    chunk = await archive.read(GANG, "main", 0, LogStream.STDOUT, 0, 64)
    assert (b"not stored any more" in chunk.data, chunk.complete) == (True, True)
    after = await archive.read(GANG, "main", 0, LogStream.STDOUT, chunk.next_offset, 64)
    assert (after.data, after.complete) == (b"", True)


class _Away(MemoryKeeper):
    async def hold(self, holder: str, digests: frozenset[str]) -> None:
        raise UnavailableError(f"{holder} cannot keep {len(digests)} objects")


async def test_streams_are_kept_for_the_job_before_their_gang_may_be_forgotten(
    tmp_path: Path, store: MemoryStore, keeper: MemoryKeeper
):
    cluster = MemoryCluster(script=lambda *_: Behaviour(stdout=b"hello"))
    cluster.stored = keeper.contents
    runtime = MemoryRuntime(cluster)
    await runtime.open()
    made = gang("speak", name="job_a-a1")
    await runtime.start(made, everywhere(made))
    await eventually(lambda: cluster.gangs["job_a-a1"].replicas["main", 0].status.ended_at)
    away = LogArchive(tmp_path / "logs", store, _Away())
    with pytest.raises(UnavailableError):
        await away.take(runtime, "job_a-a1")
    assert not await away.holds("job_a-a1")
    archive = LogArchive(tmp_path / "logs", store, keeper)
    await archive.take(runtime, "job_a-a1")
    assert await archive.holds("job_a-a1")
    assert keeper.held == {"job_a/logs": frozenset(keeper.contents)}
    await runtime.forget("job_a-a1")
    chunk = await archive.read("job_a-a1", "main", 0, LogStream.STDOUT, 0, 64)
    assert (chunk.data, chunk.complete) == (b"hello", True)
    await runtime.close()
