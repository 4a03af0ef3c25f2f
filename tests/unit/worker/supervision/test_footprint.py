from __future__ import annotations

import signal
import subprocess

import pytest
from gridloom.worker.supervision import processes
from gridloom.worker.supervision.footprint import Footprint

from tests.support.eventually import eventually_now

MIB = 1 << 20


@pytest.fixture
def sleeper(monkeypatch: pytest.MonkeyPatch):
    """A child that does not grow; what else this process has started counts for nothing."""
    process = subprocess.Popen(["sleep", "1000"])
    eventually_now(lambda: processes.read_proc(f"{process.pid}/comm") == b"sleep\n")
    process.send_signal(signal.SIGSTOP)  # it grows no more
    monkeypatch.setattr(processes, "descendants", lambda _: [process.pid])
    yield process
    process.kill()
    process.wait()


def test_what_is_calm_is_looked_at_ever_less_often(sleeper):
    del sleeper
    footprint = Footprint(0)
    pauses = []
    for _ in range(12):
        assert not footprint.look()
        pauses.append(footprint.pause_s())
    assert pauses[0] == 0.02
    assert pauses[-1] == 2.0
    assert pauses == sorted(pauses)
    assert footprint.peak_bytes > 0


def test_with_a_limit_nobody_is_left_alone_for_long(sleeper):
    del sleeper
    footprint = Footprint(1 << 40)
    for _ in range(12):
        assert not footprint.look()
    assert footprint.pause_s() == 0.25


def test_growth_near_the_limit_is_looked_at_as_often_as_it_goes(sleeper):
    del sleeper
    footprint = Footprint(4 * MIB)
    assert not footprint.look()
    assert footprint.pause_s() == 0.005


def test_more_than_the_limit_is_said(sleeper):
    del sleeper
    assert Footprint(1).look()


def test_the_kernels_peak_counts_where_it_is_news():
    footprint = Footprint(0)
    footprint.note_largest(3 * MIB)
    assert footprint.peak_bytes == 3 * MIB
    footprint.note_largest(2 * MIB)
    assert footprint.peak_bytes == 3 * MIB
    footprint.note_largest(1 << 40)
    assert footprint.peak_bytes == 1 << 40
