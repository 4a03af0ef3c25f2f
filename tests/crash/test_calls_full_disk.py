"""The disk of the whole platform is full while calls are made."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import gridloom
import pytest
from gridloom.errors import GridloomError, StorageFullError
from gridloom.home import EmbeddedPlatform

from tests.support.chaos import platform_pid, survivors
from tests.support.eventually import eventually_now
from tests.support.home import Home
from tests.support.small_disk import fill, small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gridloom.calls.future import CallFuture

MEGABYTES = 64
SIZE = 200_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", MEGABYTES) as folder:
        yield folder


@pytest.fixture
def home(disk: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    # What objects leave free for the stores is more than this disk has.
    monkeypatch.setenv("GRIDLOOM_OBJECTS_RESERVE_BYTES", str(4 << 20))
    home = Home(disk / "home")
    EmbeddedPlatform(home.path).start()
    yield home
    home.close()


def slow_length(data: bytes) -> int:
    time.sleep(0.01)
    return len(data)


def submit_until_refused(client: gridloom.Client, futures: list[CallFuture[int]]) -> None:
    """Enough of them do not fit into what a store has put aside for such days."""
    futures += (client.submit(slow_length, bytes([n % 256]) * SIZE) for n in range(400))
    # What was accepted before them waits for room.
    for future in reversed(futures):
        future.result(60)


def refusal_of_a_map(client: gridloom.Client) -> BaseException:
    """What its handle says, where nothing of it was accepted; maps that fit fill the disk."""
    for _ in range(40):
        results = client.map(len, [bytes(SIZE)] * 40, chunk_size=1)
        try:
            assert results.group.info.accepted
        except GridloomError as error:
            return error
    raise AssertionError("all maps were accepted")


def outcome(future: CallFuture[int]) -> object:
    return future.exception(60) or future.result()


def has_room(client: gridloom.Client) -> bool:
    try:
        return client.submit(slow_length, b"abcd").result(60) == 4
    except StorageFullError:
        return False


@pytest.mark.slow
def test_a_map_that_was_refused_says_why_and_not_that_it_does_not_exist(home: Home, disk: Path):
    with gridloom.connect(home=home.path, timeout="60s") as client:
        assert client.submit(slow_length, b"abc").result(60) == 3
        filler = fill(disk)
        assert isinstance(refusal_of_a_map(client), StorageFullError)
        filler.unlink()


@pytest.mark.slow
def test_questions_are_answered_while_the_disk_is_full_and_a_cancel_is_refused(
    home: Home, disk: Path
):
    with gridloom.connect(home=home.path, timeout="20s") as client:
        kept = client.map(slow_length, [b"abc"] * 3)
        assert list(kept) == [3, 3, 3]
        filler = fill(disk)
        assert isinstance(refusal_of_a_map(client), StorageFullError)
        with gridloom.connect(home=home.path, timeout="20s") as other:
            assert other.get(kept.group.id).result() == [3, 3, 3]
            with pytest.raises(StorageFullError):
                other.get(kept.group.id).cancel()
        filler.unlink()


@pytest.mark.slow
def test_calls_that_were_accepted_end_once_there_is_room_and_the_rest_is_refused(
    home: Home, disk: Path
):
    futures: list[CallFuture[int]] = []
    with gridloom.connect(home=home.path, timeout="60s") as client:
        assert client.submit(slow_length, b"abc").result(60) == 3
        pid = platform_pid(home.path)
        filler = fill(disk)
        with pytest.raises(StorageFullError, match="is full; nothing was accepted"):
            submit_until_refused(client, futures)
        with pytest.raises(StorageFullError):  # also what goes another way
            client.submit(slow_length, bytes(1 << 20)).result(60)
        filler.unlink()
        eventually_now(lambda: has_room(client))
        assert platform_pid(home.path) == pid
        outcomes = [outcome(future) for future in futures]
    assert {one for one in outcomes if not isinstance(one, StorageFullError)} == {SIZE}
    doctor = home.gridloom("doctor")
    assert doctor.code == 0, doctor.out + doctor.err
    assert home.gridloom("down", "--cancel").code == 0
    assert survivors(home.path, 10.0) == {}
