"""What `gridloom doctor` says of shared memory, and what it gives back."""

from __future__ import annotations

import json
import secrets
import shutil
from typing import TYPE_CHECKING

import pytest
from gridloom.cli.__main__ import run
from gridloom.segments import PREFIX
from gridloom_services.common.store import Database
from gridloom_services.embedded.finding import Verdict
from gridloom_services.embedded.memory import others_memory, own_memory
from gridloom_services.objects.catalogue import hold_segments
from gridloom_services.objects.schema import SCHEMA
from gridloom_services.objects.segments import SharedMemory
from gridloom_services.objects.store.files import LocalFiles

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 2 << 20


class Left:
    """A home whose platform has died, and the memory that it has left behind."""

    def __init__(self, base: Path) -> None:
        self.root, self.objects = base / "shm", base / "home" / "objects"
        self.root.mkdir()
        self.objects.mkdir(parents=True)
        LocalFiles(self.objects).open()
        told = SharedMemory(self.root, self.objects, 0.5).memory()
        assert told is not None
        self.folder = told.path

    async def hold(self, *names: str) -> None:
        database = await Database.open(f"sqlite:///{self.objects / 'objects.db'}", SCHEMA)
        if names:
            await database.run(lambda cursor: hold_segments(cursor, "call", names))
        await database.close()

    def written(self) -> str:
        """A segment whose writer has died."""
        name = secrets.token_hex(16)
        (self.folder / "used" / name).write_bytes(bytes(SIZE))
        return PREFIX + name

    def files(self) -> set[str]:
        return {PREFIX + path.name for path in self.root.glob("*/used/*")}


@pytest.fixture
def left(tmp_path: Path) -> Left:
    return Left(tmp_path)


async def test_what_nobody_needs_is_said_and_given_back_when_it_is_asked_for(left: Left):
    held, litter = left.written(), left.written()
    await left.hold(held)
    finding = own_memory(left.root, left.objects, mend=False, runs=False)
    assert finding.verdict is Verdict.REMARK
    assert "1 segment, 2 MiB, in use; 1 segment, 2 MiB, that nobody needs" in finding.detail
    assert left.files() == {held, litter}
    mended = own_memory(left.root, left.objects, mend=True, runs=False)
    assert (mended.verdict, left.files()) == (Verdict.OK, {held})
    assert own_memory(left.root, left.objects, mend=False, runs=False).verdict is Verdict.OK


async def test_a_platform_that_runs_gives_back_itself_what_nobody_needs(left: Left):
    litter = left.written()
    await left.hold()
    finding = own_memory(left.root, left.objects, mend=False, runs=True)
    assert (finding.verdict, left.files()) == (Verdict.OK, {litter})


async def test_payloads_that_are_gone_are_said(left: Left):
    await left.hold(PREFIX + "0" * 32)
    finding = own_memory(left.root, left.objects, mend=True, runs=False)
    assert finding.verdict is Verdict.REMARK
    assert "1 gone" in finding.detail


async def test_the_memory_of_a_platform_whose_home_is_gone_is_said_and_given_back(left: Left):
    left.written()
    assert list(others_memory(left.root, mend=True)) == []
    shutil.rmtree(left.objects)
    [finding] = others_memory(left.root, mend=False)
    assert finding.verdict is Verdict.REMARK
    assert str(left.objects.parent) in finding.detail
    [mended] = others_memory(left.root, mend=True)
    assert mended.verdict is Verdict.OK
    assert list(left.root.iterdir()) == []


async def test_the_verb_mends(
    left: Left, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    left.written()
    await left.hold()
    monkeypatch.setenv("GRIDLOOM_OBJECTS_MEMORY_FOLDER", str(left.root))
    said = {}
    for words in ((), ("--mend",)):
        assert run(["--home", str(left.objects.parent), "doctor", "--json", *words]) == 0
        findings = json.loads(capfd.readouterr().out)
        said[words] = next(each for each in findings if each["check"] == "memory")["verdict"]
    assert said == {(): "remark", ("--mend",): "ok"}
    assert list(left.root.iterdir()) == []
