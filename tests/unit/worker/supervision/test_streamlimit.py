from __future__ import annotations

import pytest
from gridloom.worker.supervision.records import read_record
from gridloom.worker.supervision.streamlimit import StreamLimit

KIB = 1024
LIMIT = 64 * KIB


@pytest.fixture
def path(tmp_path):
    made = tmp_path / "stdout"
    made.touch()
    return made


def append(path, data):
    with path.open("ab") as file:
        file.write(data)


def blocks(path):
    return path.stat().st_blocks * 512


def gap(path):
    return read_record(path.with_name("stdout.gap"))


def test_a_stream_within_its_limit_is_left_alone(path):
    limit = StreamLimit(path, LIMIT)
    append(path, b"x" * LIMIT)
    limit.look()
    assert gap(path) is None
    assert path.read_bytes() == b"x" * LIMIT


def test_the_middle_goes_and_both_ends_stay(path):
    limit = StreamLimit(path, LIMIT)
    data = b"".join(b"%015d\n" % number for number in range(16 * KIB))
    append(path, data)
    limit.look()
    missing = gap(path)
    kept = path.read_bytes()
    assert missing["first"] == LIMIT // 2
    assert len(data) - missing["end"] >= LIMIT // 2
    assert kept[: missing["first"]] == data[: missing["first"]]
    assert kept[missing["end"] :] == data[missing["end"] :]
    assert blocks(path) <= LIMIT + 8 * KIB


def test_a_stream_that_goes_on_stays_within_its_limit(path):
    limit = StreamLimit(path, LIMIT)
    ends = []
    for _ in range(50):
        append(path, b"y" * 10 * KIB)
        limit.look()
        assert blocks(path) <= LIMIT * 9 // 8 + 12 * KIB
        ends.append((gap(path) or {"end": 0})["end"])
    assert ends == sorted(ends)
    assert path.stat().st_size == 500 * KIB


def test_a_fast_stream_is_looked_at_more_often(path):
    limit = StreamLimit(path, 1 << 30)
    limit.look()
    calm_s = limit.pause_s()
    append(path, b"z" * 64 * KIB)
    limit.look()
    assert limit.pause_s() <= calm_s == 1.0


def test_a_stream_near_its_limit_is_looked_at_soon(path):
    limit = StreamLimit(path, LIMIT)
    append(path, b"x" * LIMIT)
    limit.look()
    assert limit.pause_s() == 0.01
