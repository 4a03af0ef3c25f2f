from __future__ import annotations

import asyncio

import pytest
from gridloom_services.common import audit
from gridloom_services.common.audit import AuditEntry, AuditTrail, left_behind
from gridloom_services.common.errors import UnavailableError

from tests.support.eventually import eventually


def an_entry(number: int, **more) -> AuditEntry:
    said = {"service": "scheduler", "action": "job.cancel", "actor": "ada", "objects": ("job_1",)}
    return AuditEntry(id=f"id{number}", at_us=number, **(said | more))


class Sink:
    def __init__(self) -> None:
        self.kept: list[AuditEntry] = []
        self.is_away = False

    async def add(self, entries):
        if self.is_away:
            raise UnavailableError("away")
        self.kept += entries


@pytest.fixture
def file(tmp_path):
    return tmp_path / "audit.jsonl"


@pytest.fixture
async def trail(file):
    trail = AuditTrail(file, linger_s=0)
    yield trail
    await trail.close()


async def test_entries_are_kept_in_order_without_anybody_waiting(trail, file):
    sink = Sink()
    trail.start(sink)
    entries = [an_entry(number) for number in range(1200)]
    for entry in entries:
        trail.add(entry)
    await eventually(lambda: sink.kept == entries)
    await eventually(lambda: file.read_text() == "")


async def test_an_entry_is_in_the_file_before_add_returns(trail, file):
    entry = an_entry(1, detail="with ümlaut\nand break")
    trail.add(entry)
    assert left_behind(file) == [entry]


async def test_what_a_killed_process_has_left_is_sent_by_the_next(trail, file):
    trail.add(an_entry(1))
    trail.add(an_entry(2))
    with file.open("a") as cut_off:
        cut_off.write('{"id":"id3","at_us":')
    sink, after = Sink(), AuditTrail(file, linger_s=0)
    after.start(sink)
    await eventually(lambda: len(sink.kept) == 2)
    await after.close()
    assert sink.kept == [an_entry(1), an_entry(2)]


async def test_entries_wait_while_nobody_keeps_them(trail, file, monkeypatch):
    monkeypatch.setattr(audit, "_FIRST_PAUSE_S", 0.001)
    sink = Sink()
    sink.is_away = True
    trail.start(sink)
    trail.add(an_entry(1))
    await asyncio.sleep(0.01)
    assert len(left_behind(file)) == len(trail) == 1
    sink.is_away = False
    await eventually(lambda: sink.kept == [an_entry(1)])


async def test_what_cannot_be_sent_at_the_end_stays_for_the_next_start(file):
    sink = Sink()
    sink.is_away = True
    trail = AuditTrail(file)
    trail.start(sink)
    trail.add(an_entry(1))
    await trail.close()
    assert left_behind(file) == [an_entry(1)]


async def test_too_many_are_counted_and_the_log_says_how_many_were_lost(trail, monkeypatch):
    monkeypatch.setattr(audit, "MOST_WAITING", 3)
    for number in range(5):
        trail.add(an_entry(number))
    sink = Sink()
    trail.start(sink)
    await eventually(lambda: len(sink.kept) == 4)
    assert [entry.id for entry in sink.kept[:3]] == ["id0", "id1", "id2"]
    assert (sink.kept[3].action, sink.kept[3].object_count) == ("audit.lost", 2)


async def test_a_full_disk_keeps_nothing_from_going_on(trail, monkeypatch, caplog):
    class Full:
        closed = False

        def writelines(self, lines):
            raise OSError(28, "No space left on device")

        def truncate(self, size):
            return size

        def close(self):
            self.closed = True

    trail._stream.close()
    trail._stream = Full()
    sink = Sink()
    trail.start(sink)
    trail.add(an_entry(1))
    await eventually(lambda: sink.kept == [an_entry(1)])
    assert "in memory only" in caplog.text
