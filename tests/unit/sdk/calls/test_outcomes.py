"""From parts of stored results to what became of each item."""

from __future__ import annotations

import pytest
from gridloom.api.functions.v1 import call_pb2
from gridloom.calls.outcomes import Outcome, Unfolding, shaped
from gridloom.calls.reading import Part
from gridloom.errors import TimeLimitError
from gridloom.payload import PayloadCodec

CODEC = PayloadCodec()


def part(offset, *values, items=True):
    value = CODEC.encode_value(list(values) if items else values[0]).data
    return Part(offset, len(values) if items else 0, call_pb2.CALL_STATUS_OK, value)


def failed(offset, items):
    error = call_pb2.CallError(type="gridloom.errors.TimeLimitError", message="too long")
    return Part(offset, items, call_pb2.CALL_STATUS_TIMEOUT, error.SerializeToString())


def test_outcomes_wait_for_those_before_them():
    unfolding = Unfolding(CODEC, is_map=True, in_order=True)
    given = [part(2, "c", "d"), part(0, "a"), part(4, "e"), part(1, "b"), part(6, "g")]
    turns = [[one.value for one in unfolding.take(each)] for each in given]
    assert turns == [[], ["a"], [], ["b", "c", "d", "e"], []]


def test_what_still_waits_when_all_is_over_comes_last():
    unfolding = Unfolding(CODEC, is_map=True, in_order=True)
    assert unfolding.take(part(6, "g")) == []
    assert unfolding.take(part(3, "d")) == []
    assert unfolding.rest() == [Outcome(3, "d"), Outcome(6, "g")]
    assert unfolding.rest() == []


def test_without_an_order_outcomes_come_as_they_are():
    unfolding = Unfolding(CODEC, is_map=True, in_order=False)
    assert unfolding.take(part(2, "c")) == [Outcome(2, "c")]
    assert unfolding.rest() == []


def test_a_failed_part_is_a_failure_of_each_of_its_items():
    unfolding = Unfolding(CODEC, is_map=True, in_order=True)
    outcomes = unfolding.take(failed(0, 2))
    assert [one.offset for one in outcomes] == [0, 1]
    for one in outcomes:
        with pytest.raises(TimeLimitError, match="too long"):
            one.given(return_exceptions=False)
        assert str(one.given(return_exceptions=True)) == "too long"


def test_a_whole_call_that_gave_a_list_is_one_outcome_outside_of_maps():
    unfolding = Unfolding(CODEC, is_map=False, in_order=True)
    assert unfolding.take(part(0, [1, 2], items=False)) == [Outcome(0, [1, 2])]


def test_a_value_that_cannot_be_opened_is_its_outcome_s_error():
    broken = Part(0, 1, call_pb2.CALL_STATUS_OK, b"\x01no pickle")
    (outcome,) = Unfolding(CODEC, is_map=True, in_order=True).take(broken)
    assert outcome.error is not None


def test_a_result_takes_the_shape_of_its_workflow():
    outcomes = [Outcome(offset, offset * 10) for offset in (2, 0, 1)]
    assert shaped(outcomes, [[0, 1], 2]) == [[0, 10], 20]
    assert shaped(outcomes, None) == 20
