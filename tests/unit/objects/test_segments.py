"""Shared memory, both ends of it: the platform's, and that of processes that write and read."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from gridloom.api.objects.v1 import objects_pb2
from gridloom.segments import PREFIX, SharedFolder
from gridloom_services.objects.segments import ABANDONED_S, SharedMemory

SIZE = 2 << 20


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Memory:
    """A folder of tmpfs, the platform's part in it, and one process that uses it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "home"
        self.home.mkdir()
        self.clock = Clock()
        self.platform = SharedMemory(root, self.home, 0.5, self.clock)
        self.process = self.new_process()

    def new_process(self, reserve_bytes: int = 0) -> SharedFolder:
        told = self.platform.memory()
        assert told is not None
        process = SharedFolder.found(
            objects_pb2.SharedMemory(
                folder=str(told.path), mark=told.mark, reserve_bytes=reserve_bytes
            )
        )
        assert process is not None
        return process

    def write(self, content: bytes) -> str:
        places = self.process.write([memoryview(content)])
        assert places is not None
        return places[0].name

    def read(self, name: str) -> bytes | None:
        found = self.process.read(name)
        return None if found is None else bytes(found[:10])

    def files(self, folder: str) -> list[Path]:
        return sorted(self.root.glob(f"gridloom-*/{folder}/*"))

    def tidy_after(self, seconds: float, held: tuple[str, ...] = ()) -> int:
        self.platform.tidy(held)
        self.clock.now += seconds
        return self.platform.tidy(held)


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path)


def filled(byte: bytes) -> bytes:
    return byte * SIZE


def test_what_was_written_is_read_and_is_the_readers_own(memory: Memory):
    name = memory.write(filled(b"a"))
    first, second = memory.process.read(name), memory.process.read(name)
    assert first is not None
    assert second is not None
    first[:1] = b"x"
    assert (bytes(first[:2]), bytes(second[:2])) == (b"xa", b"aa")


def test_several_parts_lie_in_one_segment(memory: Memory):
    places = memory.process.write([memoryview(filled(b"a")), memoryview(b"bc"), memoryview(b"d")])
    assert places is not None
    assert len({place.name for place in places}) == 1
    whole = memory.process.read(places[0].name)
    assert whole is not None
    assert [bytes(whole[place.offset :][:1]) for place in places] == [b"a", b"b", b"d"]


def test_nobody_else_may_enter(memory: Memory):
    memory.write(filled(b"a"))
    (segment,) = memory.files("used")
    assert segment.stat().st_mode & 0o777 == 0o600
    assert segment.parent.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["../mark", "", "a" * 31, "a" * 33, "A" * 32, "." * 32])
def test_only_a_name_is_ever_opened(memory: Memory, name: str):
    assert memory.process.read(name) is None
    assert memory.platform.reader(PREFIX + name) is None


def test_a_link_is_not_followed(memory: Memory):
    name = memory.write(filled(b"a"))
    (segment,) = memory.files("used")
    (segment.parent / ("b" * 32)).symlink_to(segment)
    assert memory.read("b" * 32) is None
    assert memory.read(name) == b"a" * 10


def test_a_folder_of_others_is_not_used(tmp_path: Path):
    platform = SharedMemory(tmp_path, tmp_path, 0.5)
    told = platform.memory()
    assert told is not None
    told.path.chmod(0o755)
    assert platform.memory() is None


def test_a_folder_with_another_mark_is_not_found(memory: Memory):
    told = memory.platform.memory()
    assert told is not None
    other = objects_pb2.SharedMemory(folder=str(told.path), mark=b"other")
    assert SharedFolder.found(other) is None


def test_where_too_little_would_stay_free_nothing_is_written(memory: Memory):
    full = memory.new_process(reserve_bytes=1 << 60)
    assert full.write([memoryview(filled(b"a"))]) is None
    assert memory.files("used") == []


def test_memory_that_was_let_go_of_is_written_again(memory: Memory):
    first = memory.write(filled(b"a"))
    (segment,) = memory.files("used")
    inode = segment.stat().st_ino
    memory.platform.retire([PREFIX + first])
    second = memory.write(filled(b"b"))
    (segment,) = memory.files("used")
    assert (segment.stat().st_ino, segment.name) == (inode, second)
    assert (memory.read(first), memory.read(second)) == (None, b"b" * 10)


def test_memory_that_somebody_reads_is_not_written_again(memory: Memory):
    name = memory.write(filled(b"a"))
    reader = memory.new_process()
    seen = reader.read(name)
    assert seen is not None
    memory.platform.retire([PREFIX + name])
    memory.write(filled(b"b"))
    assert seen == filled(b"a")
    del seen
    memory.write(filled(b"c"))
    inodes = {path.stat().st_ino for path in memory.files("used")}
    assert (len(inodes), memory.files("free")) == (2, [])


def test_what_is_handed_on_unchanged_gets_a_name_and_no_memory(memory: Memory):
    name = memory.write(filled(b"a"))
    seen = memory.process.read(name)
    assert seen is not None
    places = memory.process.write([seen[4096:]])
    assert places is not None
    (place,) = places
    assert (place.name != name, place.offset) == (True, 4096)
    assert len({path.stat().st_ino for path in memory.files("used")}) == 1
    memory.platform.retire([PREFIX + name])
    assert memory.read(place.name) == b"a" * 10


def test_memory_with_a_name_left_is_not_written_again(memory: Memory):
    name = memory.write(filled(b"a"))
    seen = memory.process.read(name)
    assert seen is not None
    places = memory.process.write([seen])
    assert places is not None
    del seen
    memory.platform.retire([PREFIX + name])
    memory.write(filled(b"b"))
    assert memory.read(places[0].name) == b"a" * 10


def test_what_was_changed_is_written_as_it_is_now(memory: Memory):
    seen = memory.process.read(memory.write(filled(b"a")))
    assert seen is not None
    seen[100_000:100_001] = b"x"
    places = memory.process.write([seen])
    assert places is not None
    found = memory.process.read(places[0].name)
    assert found is not None
    assert bytes(found[99_999:100_002]) == b"axa"
    assert len({path.stat().st_ino for path in memory.files("used")}) == 2


def test_what_is_held_stays(memory: Memory):
    name = memory.write(filled(b"a"))
    memory.process = memory.new_process()
    assert memory.tidy_after(2 * ABANDONED_S, held=(PREFIX + name,)) == 0
    assert memory.read(name) == b"a" * 10


WRITER = """
import sys
from gridloom.api.objects.v1 import objects_pb2
from gridloom.segments import SharedFolder
told = objects_pb2.SharedMemory(folder=sys.argv[1], mark=bytes.fromhex(sys.argv[2]))
print(SharedFolder.found(told).write([memoryview(b"w" * (2 << 20))])[0].name, flush=True)
sys.stdin.read()
"""


def test_what_a_process_has_left_goes_after_its_death(memory: Memory):
    told = memory.platform.memory()
    assert told is not None
    command = [sys.executable, "-c", WRITER, str(told.path), told.mark.hex()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        name = writer.stdout.readline().decode().strip()
        assert re.fullmatch("[0-9a-f]{32}", name)
        assert memory.tidy_after(2 * ABANDONED_S) == 0
        writer.send_signal(signal.SIGKILL)
    assert memory.tidy_after(ABANDONED_S / 2) == 0
    assert memory.tidy_after(ABANDONED_S) == 1
    assert memory.files("used") == []


def test_what_waits_for_its_writer_goes_after_a_while(memory: Memory):
    memory.platform.retire([PREFIX + memory.write(filled(b"a"))])
    (waiting,) = memory.files("free")
    assert memory.platform.tidy(()) == 0
    # The time of the last change of an inode cannot be set; that of "now" is the clock's.
    memory.platform.wall_clock = lambda: waiting.stat().st_ctime + 3600
    assert memory.platform.tidy(()) == 1
    assert memory.files("free") == []


def test_segments_outlive_the_platform_and_nothing_outlives_their_use(memory: Memory):
    name = memory.write(filled(b"a"))
    memory.platform.close({PREFIX + name})
    again = SharedMemory(memory.root, memory.home, 0.5, memory.clock)
    again.resume()
    assert memory.read(name) == b"a" * 10
    again.retire([PREFIX + name])
    again.close(())
    assert list(memory.root.glob("gridloom-*")) == []


def test_a_new_platform_removes_the_memory_of_homes_that_are_gone(memory: Memory):
    memory.write(filled(b"a"))
    memory.home.rmdir()
    other = memory.root / "other"
    other.mkdir()
    told = SharedMemory(memory.root, other, 0.5).memory()
    assert told is not None
    assert list(memory.root.glob("gridloom-*")) == [told.path]


def test_many_readers_keep_what_they_see_without_descriptors(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gridloom.segments.MOST_OPEN", 1)
    names = [memory.write(filled(byte)) for byte in (b"a", b"b", b"c")]
    before = len(list(Path("/proc/self/fd").iterdir()))
    seen = [memory.process.read(name) for name in names]
    assert len(list(Path("/proc/self/fd").iterdir())) == before + 1
    memory.platform.retire([PREFIX + name for name in names])
    for byte in (b"x", b"y", b"z"):
        memory.write(filled(byte))
    assert [bytes(one[:1]) for one in seen if one is not None] == [b"a", b"b", b"c"]


def test_what_was_told_nobody_is_forgotten_and_its_memory_is_used_again(memory: Memory):
    memory.process.forget(memory.write(filled(b"a")))
    assert memory.files("used") == []
    name = memory.write(filled(b"b"))
    assert (len(memory.files("used")), memory.files("free")) == (1, [])
    memory.process.forget("../mark")
    assert memory.read(name) == b"b" * 10
