from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction

import pytest
from gridloom import units
from gridloom.errors import InvalidRequestError
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (1, 1),
        ("512", 512),
        ("8GiB", 8 * 1024**3),
        ("8Gi", 8 * 1024**3),
        ("8 gib", 8 * 1024**3),
        ("1.5MiB", 1024 * 1536),
        ("8GB", 8_000_000_000),
        ("8g", 8_000_000_000),
        ("500M", 500_000_000),
        (2.5e9, 2_500_000_000),
    ],
)
def test_memory_is_bytes(given: units.Memory, expected: int):
    assert units.memory_bytes(given) == expected


@pytest.mark.parametrize("given", ["", "GiB", "8 potatoes", "-1", -1, 0, float("nan"), True, None])
def test_memory_that_is_none_is_refused(given: object):
    with pytest.raises(InvalidRequestError) as refusal:
        units.memory_bytes(given)  # type: ignore[arg-type]
    assert refusal.value.field == "memory"


@pytest.mark.parametrize(
    ("given", "expected"), [(4, 4000), (0.5, 500), (0.0001, 1), (Fraction(1, 4), 250), (0.1, 100)]
)
def test_cpus_travel_in_thousandths(given: float, expected: int):
    assert units.cpu_thousandths(given) == expected


@pytest.mark.parametrize("given", [0, -1, "4", float("inf"), None])
def test_cpus_that_are_none_are_refused(given: object):
    with pytest.raises(InvalidRequestError):
        units.cpu_thousandths(given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (90, 90),
        (1.5, 1.5),
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("250ms", 0.25),
        ("1.5h", 5400),
        (timedelta(minutes=2), 120),
    ],
)
def test_durations_are_seconds(given: units.Duration, expected: float):
    assert units.seconds(given, field="timeout") == pytest.approx(expected)


@pytest.mark.parametrize("given", ["", "soon", "10 minutes", "nan", "inf", -1, "1h-", None])
def test_durations_that_are_none_are_refused(given: object):
    with pytest.raises(InvalidRequestError) as refusal:
        units.seconds(given, field="timeout")  # type: ignore[arg-type]
    assert refusal.value.field == "timeout"


def test_a_duration_may_have_a_least_value():
    with pytest.raises(InvalidRequestError, match="at least 1s"):
        units.seconds(0.5, field="time_limit", least=1)


def test_points_are_taken_to_utc():
    east = datetime(2030, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert units.point(east, field="deadline") == datetime(2030, 1, 1, 10, tzinfo=UTC)
    assert units.point("2030-01-01T10:00Z", field="deadline").hour == 10


def test_a_point_without_a_zone_is_refused():
    with pytest.raises(InvalidRequestError, match="with a zone"):
        units.point(datetime(2030, 1, 1), field="deadline")  # noqa: DTZ001
    with pytest.raises(InvalidRequestError, match="ISO 8601"):
        units.point("tomorrow", field="deadline")


def test_whole_numbers_have_bounds():
    assert units.whole(3, field="replicas") == 3
    for wrong in (-1, 2**31, 1.5, True, "3"):
        with pytest.raises(InvalidRequestError):
            units.whole(wrong, field="replicas")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (8 * 1024**3, "8 GiB"), (2**60, "1024 PiB")],
)
def test_bytes_for_people(amount: int, text: str):
    assert units.format_bytes(amount) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0s"),
        (0.000012, "12µs"),
        (0.85, "850ms"),
        (1.24, "1.2s"),
        (9.0, "9s"),
        (59.6, "1m"),
        (200, "3m20s"),
        (7500, "2h05m"),
        (360_000, "4d04h"),
    ],
)
def test_durations_for_people(amount: float, text: str):
    assert units.format_duration(amount) == text


@given(st.integers(1, 10**6))
def test_a_formatted_whole_duration_is_read_back_within_its_last_unit(amount: int):
    again = units.seconds(units.format_duration(amount), field="timeout")
    assert abs(again - amount) <= max(1, amount * 0.05)
