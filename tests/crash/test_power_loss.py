"""What was acknowledged is there after a loss of power, whatever the disk made of the rest.

The dice of `Disk` decide what is lost; POWER_SEEDS="7 8 9" throws others. The whole platform loses
its power in `make crash`.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from gridloom.worker.supervision import handover
from gridloom.worker.supervision.records import read_record
from gridloom_services.common.store import Database
from gridloom_services.functions.store import reading
from gridloom_services.functions.store.schema import SCHEMA
from gridloom_services.objects.store.files import LocalFiles

from tests.crash.power.disk import Disk, compiled
from tests.support.supervised import Supervised

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SEEDS = [int(seed) for seed in os.environ.get("POWER_SEEDS", "1 2 3").split()]
PLAIN = """
import os, sys
root = sys.argv[1]
def write(name, data, synced):
    with open(f"{root}/{name}", "wb") as file:
        file.write(data)
        file.flush()
        if synced:
            os.fsync(file.fileno())
def sync():
    folder = os.open(root, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
write("kept", b"k" * 9000, True)
write("hollow", b"h" * 9000, False)
sync()
write("nameless", b"n" * 9000, True)
write("new", b"new", True)
os.rename(f"{root}/new", f"{root}/kept.2")
with open(f"{root}/kept", "r+b") as file:
    file.seek(3000)
    file.write(b"x" * 5000)
print("ready", flush=True)
sys.stdin.read()
"""
COMMITS = """
import asyncio, sys
from gridloom_services.common.cursor import SqliteCursor
from gridloom_services.common.store import Database
from gridloom_services.functions.store import writing
from gridloom_services.functions.store.rows import Changes, SessionRow
from gridloom_services.functions.store.schema import SCHEMA
async def main():
    # A small log: it is folded into the file again and again.
    database = await Database.open(f"sqlite:///{sys.argv[1]}/calls.db", SCHEMA, wal_bytes=1 << 16)
    for number in range(1, 100_000):
        row = SessionRow(number, b"%016d" % number, f"s{number}", "p" * 300, "o", "3.11")
        database.transact_raw(
            lambda raw: writing.write(SqliteCursor(raw), Changes(new_sessions=[row]))
        )
        print(number, flush=True)
asyncio.run(main())
"""
OBJECTS = """
import hashlib, sys
from pathlib import Path
from gridloom_services.objects.store.files import LocalFiles
files = LocalFiles(Path(sys.argv[1]) / "objects")
files.open()
for number in range(100_000):
    content = (b"%d " % number) * 5000
    draft = files.draft()
    draft.write(content)
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    draft.commit(digest)
    print(digest, flush=True)
"""
SECRET = """
import sys
from pathlib import Path
from gridloom_services.common.tokens import read_or_create_secret
print(read_or_create_secret(Path(sys.argv[1]) / "secret").hex(), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("the recorder is compiled with cc")
    return compiled(tmp_path_factory.mktemp("recorder"))


class Machine:
    """A folder on a disk, and programs that work there until the power goes."""

    def __init__(self, folder: Path, library: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        self.disk = Disk(self.root, folder / "log")
        self.environment = os.environ | self.disk.environment(library)

    def told_by(self, program: str, lines: int) -> list[str]:
        """So many lines of what a program says, which is killed then."""
        with subprocess.Popen(
            [sys.executable, "-c", program, str(self.root)],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            told = [process.stdout.readline().strip() for _ in range(lines)]
            process.kill()
            # What it had said before it was killed it had promised, too. (`communicate` would not
            # know what `readline` has read ahead.)
            rest = process.stdout.read()
        assert all(told)
        return told + [line for line in rest.split("\n")[:-1] if line]


@pytest.fixture(params=SEEDS)
def dice(request: pytest.FixtureRequest) -> random.Random:
    return random.Random(request.param)


@pytest.fixture
def machine(tmp_path: Path, library: Path) -> Machine:
    return Machine(tmp_path, library)


def left_of_plain(folder: Path, library: Path) -> Iterator[dict[str, bytes]]:
    for seed in range(12):
        (folder / str(seed)).mkdir()
        machine = Machine(folder / str(seed), library)
        machine.told_by(PLAIN, 1)
        machine.disk.lose_power(random.Random(seed))
        yield {path.name: path.read_bytes() for path in machine.root.iterdir()}


def test_the_disk_keeps_what_was_synced_and_may_lose_the_rest(tmp_path, library):
    kept, whole = set(), 0
    for files in left_of_plain(tmp_path, library):
        assert files["kept"][:3000] == b"k" * 3000
        assert files["kept"][8000:] == b"k" * 1000
        assert set(files["kept"][3000:8000]) <= set(b"kx")
        assert set(files["hollow"]) <= set(b"h\0")
        assert files.get("nameless", b"n" * 9000) == b"n" * 9000
        assert files.keys() & {"new", "kept.2"} in (set(), {"new"}, {"kept.2"})
        kept |= files.keys()
        whole += files["hollow"] == b"h" * 9000
    assert kept == {"kept", "hollow", "nameless", "new", "kept.2"}
    assert 0 < whole < 12


async def sessions(url: str) -> list[int]:
    database = await Database.open(url, SCHEMA)
    try:
        rows = await database.run(
            lambda cursor: cursor.all("SELECT number FROM call_sessions ORDER BY number")
        )
        assert await database.run(reading.recover)
        return [row[0] for row in rows]
    finally:
        await database.close()


def test_a_commit_that_was_told_of_is_in_the_store(machine, dice):
    told = machine.told_by(COMMITS, dice.randint(1, 800))
    machine.disk.lose_power(dice)
    found = asyncio.run(sessions(f"sqlite:///{machine.root}/calls.db"))
    assert found[: len(told)] == [int(number) for number in told]
    assert len(found) <= len(told) + 1


def test_an_object_that_was_told_of_is_whole(machine, dice):
    told = machine.told_by(OBJECTS, dice.randint(1, 60))
    machine.disk.lose_power(dice)
    files = LocalFiles(machine.root / "objects")
    files.open()
    sizes = [files.size(digest) for digest in told]
    assert sizes == [len(b"%d " % number) * 5000 for number in range(len(told))]
    for number, digest in enumerate(told):
        reader = files.reader(digest)
        assert reader.read(0, 1 << 20) == (b"%d " % number) * 5000
        reader.close()


def test_the_secret_of_a_platform_stays_the_same(machine, dice):
    told = machine.told_by(SECRET, 1)
    machine.disk.lose_power(dice)
    assert machine.told_by(SECRET, 1) == told


def test_who_knows_of_a_commands_end_finds_what_it_left(machine, dice, monkeypatch):
    supervised = Supervised(machine.root, 1)
    for name, value in machine.environment.items():
        monkeypatch.setenv(name, value)
    program = "echo to stdout; echo to stderr >&2; echo result >out.txt"
    assert supervised.run("sh", "-c", program, outputs=["out.txt"]).exit_code == 0
    monkeypatch.undo()
    machine.disk.lose_power(dice)
    assert read_record(supervised.path / handover.END)["exit_code"] == 0
    assert (supervised.path / handover.STDOUT).read_text() == "to stdout\n"
    assert (supervised.path / handover.STDERR).read_text() == "to stderr\n"
    assert (supervised.path / handover.OUTPUTS / "out.txt").read_text() == "result\n"
