"""The stores of contents keep one contract; so do the objects' tables on both databases."""

from __future__ import annotations

import errno
import hashlib
import os
import time
import uuid
from typing import TYPE_CHECKING

import pytest
from gridloom_services.common.store import Database
from gridloom_services.objects import catalogue
from gridloom_services.objects.ref import ObjectRef
from gridloom_services.objects.schema import SCHEMA
from gridloom_services.objects.store.files import LocalFiles
from gridloom_services.objects.store.memory import MemoryContents
from gridloom_services.objects.store.remote import FsspecContents

from tests.support.migrations import assert_migrations_match_metadata

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gridloom_services.objects.store.base import ContentStore


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


A, B = b"a" * 1000, b"b" * 10
DIGEST_A, DIGEST_B = digest_of(A), digest_of(B)

# ---- contents


@pytest.fixture(params=["files", "memory", "fsspec memory", "fsspec files", "s3"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], ContentStore]:
    """Opens the same store again, as a process does that follows another."""
    memory = MemoryContents()
    if request.param == "s3":
        request.getfixturevalue("s3")
    bucket = f"b{abs(hash(tmp_path))}"
    makers = {
        "files": lambda: LocalFiles(tmp_path),
        "memory": lambda: memory,
        "fsspec memory": lambda: FsspecContents(f"memory://{tmp_path}", tmp_path / "drafts"),
        "s3": lambda: FsspecContents(f"s3://{bucket}/contents", tmp_path / "drafts"),
        "fsspec files": lambda: FsspecContents(f"file://{tmp_path}/c", tmp_path / "drafts"),
    }

    def opened() -> ContentStore:
        store: ContentStore = makers[request.param]()
        store.open()
        return store

    return opened


@pytest.fixture
def store(reopen: Callable[[], ContentStore]) -> ContentStore:
    return reopen()


def put(store: ContentStore, content: bytes) -> str:
    draft = store.draft()
    draft.write(content[:3])
    draft.write(content[3:])
    draft.commit(digest_of(content))
    return digest_of(content)


def read(store: ContentStore, digest: str, offset: int = 0, length: int = 1 << 20) -> bytes:
    reader = store.reader(digest)
    try:
        return reader.read(offset, length)
    finally:
        reader.close()


@pytest.fixture
def files(tmp_path: Path) -> LocalFiles:
    store = LocalFiles(tmp_path)
    store.open()
    return store


def left(files: LocalFiles, content: bytes) -> str:
    folder = files.local()
    assert folder is not None
    name = uuid.uuid4().hex
    (folder.path / "drafts" / name).write_bytes(content)
    return name


def test_a_store_that_others_reach_names_a_folder_with_its_mark(store):
    folder = store.local()
    if folder is not None:
        assert (folder.path / "mark").read_bytes() == folder.mark
        assert len(folder.mark) >= 16


def test_nothing_is_left_where_nobody_left_it(store):
    with pytest.raises(FileNotFoundError):
        store.left("0" * 32, 10)
    store.tidy()


def test_a_file_that_was_left_becomes_a_content(files, tmp_path):
    files.left(left(files, A), len(A)).commit(DIGEST_A)
    assert read(files, DIGEST_A) == A
    assert list((tmp_path / "drafts").iterdir()) == []


def test_a_file_that_is_not_whole_is_not_taken_and_stays_its_owners(files, tmp_path):
    name = left(files, A)
    with pytest.raises(FileNotFoundError):
        files.left(name, len(A) + 1)
    assert (tmp_path / "drafts" / name).read_bytes() == A


@pytest.mark.parametrize("name", ["../mark", "", "mark", "0" * 31, "0" * 32 + "/x"])
def test_what_is_no_name_of_a_draft_is_never_opened(files, tmp_path, name):
    (tmp_path / "drafts" / "mark").write_bytes(A)
    with pytest.raises(FileNotFoundError):
        files.left(name, len(A))


def test_a_link_is_not_followed(files, tmp_path):
    (tmp_path / "secret").write_bytes(A)
    (tmp_path / "drafts" / ("0" * 32)).symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic"):
        files.left("0" * 32, len(A))


def test_a_file_that_nobody_came_back_to_goes_after_a_day(files, tmp_path):
    old, new = (tmp_path / "drafts" / left(files, A) for _ in range(2))
    os.utime(old, (0, time.time() - 25 * 3600))
    files.tidy()
    assert (old.exists(), new.exists()) == (False, True)


def test_a_committed_content_is_read_as_it_was_written(store):
    put(store, A)
    put(store, B)
    assert (read(store, DIGEST_A), read(store, DIGEST_B)) == (A, B)
    assert (store.size(DIGEST_A), store.size(DIGEST_B)) == (1000, 10)


def test_it_is_there_when_the_store_is_opened_again(store, reopen):
    put(store, A)
    assert read(reopen(), DIGEST_A) == A


def test_an_empty_content_is_one(store):
    digest = put(store, b"")
    assert (store.size(digest), read(store, digest)) == (0, b"")


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [(0, 4, b"0123"), (4, 3, b"456"), (8, 100, b"89"), (10, 5, b""), (3, 0, b"")],
)
def test_any_range_can_be_read(store, offset, length, expected):
    digest = put(store, b"0123456789")
    assert read(store, digest, offset, length) == expected


def test_nobody_sees_a_draft(store):
    draft = store.draft()
    draft.write(A)
    assert store.size(DIGEST_A) is None
    assert list(store.digests()) == []
    draft.discard()


def test_a_discarded_draft_leaves_nothing_and_may_be_discarded_again(store, reopen):
    draft = store.draft()
    draft.write(A)
    draft.discard()
    draft.discard()
    assert list(reopen().digests()) == []


def test_to_discard_after_the_commit_does_nothing(store):
    draft = store.draft()
    draft.write(A)
    draft.commit(DIGEST_A)
    draft.discard()
    assert read(store, DIGEST_A) == A


def test_the_draft_of_a_process_that_died_is_removed_at_the_next_opening(store, reopen, tmp_path):
    draft = store.draft()
    draft.write(A)
    reopen()
    drafts = tmp_path / "drafts"
    assert not drafts.exists() or list(drafts.iterdir()) == []
    draft.discard()


def test_a_content_may_be_committed_twice(store):
    put(store, A)
    put(store, A)
    assert read(store, DIGEST_A) == A
    assert list(store.digests()) == [DIGEST_A]


def test_what_is_not_there_has_no_size_and_no_reader(store):
    assert store.size(DIGEST_A) is None
    with pytest.raises(FileNotFoundError):
        store.reader(DIGEST_A)


def test_a_removed_content_is_gone_and_may_be_removed_again(store):
    put(store, A)
    store.remove(DIGEST_A)
    store.remove(DIGEST_A)
    assert store.size(DIGEST_A) is None
    assert list(store.digests()) == []


def test_every_content_is_listed(store):
    digests = {put(store, bytes([number])) for number in range(50)}
    assert set(store.digests()) == digests


def test_a_reader_of_a_removed_content_gives_its_bytes_or_none(store):
    put(store, A)
    reader = store.reader(DIGEST_A)
    store.remove(DIGEST_A)
    try:
        assert reader.read(0, 2000) == A
    except FileNotFoundError:
        pass
    finally:
        reader.close()


def test_a_full_memory_is_a_full_disk():
    store = MemoryContents(capacity_bytes=1500)
    put(store, A)
    draft = store.draft()
    with pytest.raises(OSError, match="No space") as caught:
        draft.write(b"x" * 501)
    assert caught.value.errno == errno.ENOSPC
    draft.discard()
    assert store.free_bytes() == 500


# ---- tables


@pytest.fixture
async def database(database_url):
    opened = await Database.open(database_url, SCHEMA)
    yield opened
    await opened.close()


def test_the_migrations_make_what_the_metadata_says(database_url):
    assert_migrations_match_metadata(SCHEMA, database_url)


async def add(database: Database, *refs: ObjectRef, now_s: int = 100) -> None:
    for ref in refs:
        await database.run(lambda c, ref=ref: catalogue.add(c, ref, now_s))


ONE, TWO, NONE = (ObjectRef(digest_of(x), 5) for x in (b"one", b"two", b"none"))


async def test_what_was_added_is_found(database):
    await add(database, ONE, TWO)
    asked = [ONE.digest, NONE.digest]
    assert await database.run(lambda c: catalogue.find(c, asked)) == {ONE.digest: ONE}
    assert await database.run(lambda c: catalogue.find(c, [])) == {}


async def test_many_are_found_at_once(database):
    refs = [ObjectRef(digest_of(str(n).encode()), n) for n in range(2500)]
    await database.run(lambda c: [catalogue.add(c, ref, 1) for ref in refs])
    found = await database.run(lambda c: catalogue.find(c, [ref.digest for ref in refs]))
    assert sorted(found.values(), key=lambda ref: ref.size_bytes) == refs


async def test_an_old_object_that_nobody_holds_expires(database):
    await add(database, ONE, now_s=100)
    await add(database, TWO, now_s=200)
    assert await database.run(lambda c: catalogue.expire(c, 100, 10)) == []
    assert await database.run(lambda c: catalogue.expire(c, 101, 10)) == [ONE.digest]
    assert await database.run(lambda c: catalogue.find(c, [ONE.digest])) == {}


async def test_no_more_expire_at_once_than_asked(database):
    await add(database, ONE, TWO)
    assert len(await database.run(lambda c: catalogue.expire(c, 1000, 1))) == 1
    assert len(await database.run(lambda c: catalogue.expire(c, 1000, 9))) == 1


async def test_what_is_put_again_or_used_is_young_again(database):
    await add(database, ONE, TWO, now_s=100)
    await add(database, ONE, now_s=300)
    await database.run(lambda c: catalogue.touch(c, [TWO.digest], 300, 150))
    assert await database.run(lambda c: catalogue.expire(c, 300, 10)) == []


async def test_a_use_soon_after_the_last_is_not_written_down(database):
    await add(database, ONE, now_s=100)
    await database.run(lambda c: catalogue.touch(c, [ONE.digest], 109, 99))
    assert await database.run(lambda c: catalogue.expire(c, 101, 10)) == [ONE.digest]


async def test_what_is_held_stays_until_its_last_holder_lets_go(database):
    await add(database, ONE)
    for holder in ("job_1", "job_2", "job_2"):
        missing = await database.run(
            lambda c, holder=holder: catalogue.hold(c, holder, [ONE.digest])
        )
        assert missing == []
    await database.run(lambda c: catalogue.release(c, "job_1", 500))
    assert await database.run(lambda c: catalogue.expire(c, 10**6, 10)) == []
    await database.run(lambda c: catalogue.release(c, "job_2", 600))
    assert await database.run(lambda c: catalogue.expire(c, 600, 10)) == []
    assert await database.run(lambda c: catalogue.expire(c, 601, 10)) == [ONE.digest]


async def test_what_does_not_exist_cannot_be_held(database):
    await add(database, ONE)
    asked = [NONE.digest, ONE.digest, NONE.digest]
    assert await database.run(lambda c: catalogue.hold(c, "job_1", asked)) == [NONE.digest]
    await add(database, NONE, now_s=1)
    assert await database.run(lambda c: catalogue.expire(c, 50, 10)) == [NONE.digest]


async def test_a_forgotten_object_is_held_by_nobody(database):
    await add(database, ONE)
    await database.run(lambda c: catalogue.hold(c, "job_1", [ONE.digest]))
    await database.run(lambda c: catalogue.forget(c, [ONE.digest]))
    await add(database, ONE)
    assert await database.run(lambda c: catalogue.expire(c, 10**6, 10)) == [ONE.digest]


async def test_a_small_content_is_kept_in_the_row(database):
    await database.run(lambda c: catalogue.add(c, ONE, 1, b"\x00one\xff"))
    await add(database, TWO)
    contents = [
        await database.run(lambda c, ref=ref: catalogue.inline_content(c, ref.digest))
        for ref in (ONE, TWO, NONE)
    ]
    assert contents == [b"\x00one\xff", None, None]
