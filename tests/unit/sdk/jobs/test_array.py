from __future__ import annotations

import pytest
from gridloom.errors import InvalidRequestError
from gridloom.jobs.array import Array, ElementRange, parse_array
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (range(100), Array((ElementRange(0, 99),))),
        (range(0, 10, 3), Array((ElementRange(0, 9, 3),))),
        (range(9, -1, -3), Array((ElementRange(0, 9, 3),))),
        (5, Array((ElementRange(0, 4),))),
        ([7, 1, 2, 3, 2], Array((ElementRange(1, 3), ElementRange(7, 7)))),
        ("0-99%10", Array((ElementRange(0, 99),), 10)),
        ("1,4,7-9", Array((ElementRange(1, 1), ElementRange(4, 4), ElementRange(7, 9)))),
        ("0-98:2", Array((ElementRange(0, 98, 2),))),
        (" 0 - 3 % 2 ", Array((ElementRange(0, 3),), 2)),
    ],
)
def test_every_way_to_write_elements(given: object, expected: Array):
    assert parse_array(given) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given", ["", "5-1", "a-b", "1-2-3", "0-9:0", [], 0, -1, range(0), "0-9%x"]
)
def test_what_is_no_array_is_refused_with_what_is_one(given: object):
    with pytest.raises(InvalidRequestError) as refusal:
        parse_array(given)  # type: ignore[arg-type]
    assert refusal.value.field == "array"


def test_the_cap_may_stand_beside_the_elements():
    assert parse_array(range(10), 3).max_parallel == 3
    assert parse_array("0-9%3", 3).max_parallel == 3
    with pytest.raises(InvalidRequestError, match="disagree"):
        parse_array("0-9%3", 4)


@given(st.sets(st.integers(0, 500), min_size=1))
def test_listed_numbers_come_back_each_once_in_order(numbers: set[int]):
    ranges = parse_array(list(numbers)).ranges
    listed = [n for part in ranges for n in range(part.first, part.last + 1, part.step)]
    assert listed == sorted(numbers)
