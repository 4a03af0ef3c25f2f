"""Shapes of results, written and read."""

from __future__ import annotations

import pytest
from gridloom.calls.shape import filled, kind_of_shape, last_of, members, parse_kind
from hypothesis import given
from hypothesis import strategies as st

shapes = st.recursive(st.integers(0, 50), lambda inner: st.lists(inner, max_size=5), max_leaves=30)


@given(shapes)
def test_what_is_written_is_read(shape):
    assert parse_kind(kind_of_shape("group", shape)) == ("group", shape)


@pytest.mark.parametrize(
    ("shape", "written"),
    [
        (5, "chord 5"),
        ([0, 1, 2], "chord [0-2]"),
        ([[3, 4], 7], "chord [[3-4],7]"),
        ([], "chord []"),
        ([2, 4], "chord [2,4]"),
    ],
)
def test_it_is_short(shape, written):
    assert kind_of_shape("chord", shape) == written


def test_a_kind_may_have_no_shape():
    assert parse_kind("map") == ("map", None)


def test_results_take_the_places_of_their_calls():
    assert filled([[1], 0], ["a", "b"]) == [["b"], "a"]
    assert members([[1], 0]) == [1, 0]
    assert last_of([3, 9, 1]) == 9
