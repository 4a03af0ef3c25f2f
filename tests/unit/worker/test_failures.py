"""Exceptions on their way from a worker to a client."""

from __future__ import annotations

import pytest
from gridloom.api.functions.v1 import call_pb2
from gridloom.errors import RemoteError, RemoteTraceback, TimeLimitError, exception_from_call_error
from gridloom.worker.failures import call_error, own_error
from hypothesis import given
from hypothesis import strategies as st

ERROR = call_pb2.CALL_STATUS_ERROR


class TwoArgumentsError(Exception):
    """Pickles well and then refuses its own arguments."""

    def __init__(self, one, two):
        super().__init__(f"{one}-{two}")


class MuteError(Exception):
    def __str__(self):
        raise RuntimeError("I do not speak")


def raised(error):
    """The error with a traceback, as `except` gets it."""
    try:
        raise error  # noqa: TRY301
    except BaseException as caught:  # noqa: BLE001
        return caught


def travelled(error):
    sent = call_pb2.CallError.FromString(call_error(error).SerializeToString())
    return exception_from_call_error(ERROR, sent)


@given(
    st.sampled_from([ValueError, KeyError, OSError, RuntimeError, StopIteration]),
    st.lists(st.text() | st.integers(), max_size=3),
)
def test_an_exception_arrives_as_itself(kind, args):
    back = travelled(raised(kind(*args)))
    assert type(back) is kind
    assert back.args == kind(*args).args
    assert isinstance(back.__cause__, RemoteTraceback)


def test_the_traceback_is_text_that_names_the_place():
    back = travelled(raised(ValueError("here")))
    assert "test_failures.py" in str(back.__cause__)
    assert "ValueError: here" in str(back.__cause__)


def test_causes_arrive_in_their_order():
    first = KeyError("first")
    second = ValueError("second")
    third = RuntimeError("third")
    second.__cause__, third.__cause__ = first, second
    back = travelled(raised(third))
    chain = [back.__cause__.__cause__, back.__cause__.__cause__.__cause__]
    assert [(type(each), each.args) for each in chain] == [
        (ValueError, ("second",)),
        (KeyError, ("first",)),
    ]


def test_a_cause_that_cannot_travel_does_not_keep_the_exception_back():
    error = ValueError("outer")
    error.__cause__ = TwoArgumentsError("one", "two")
    back = travelled(raised(error))
    assert type(back) is ValueError
    assert back.__cause__.__cause__ is None
    assert "TwoArgumentsError: one-two" in str(back.__cause__)


def test_a_ring_of_causes_ends():
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert type(travelled(raised(one))) is ValueError


def test_notes_and_attributes_arrive():
    error = ValueError("x")
    error.add_note("a note")
    error.code = 7
    back = travelled(raised(error))
    assert back.__notes__ == ["a note"]
    assert back.code == 7


def test_an_exception_that_refuses_its_arguments_arrives_by_name():
    back = travelled(raised(TwoArgumentsError("one", "two")))
    assert type(back) is RemoteError
    assert back.type.endswith("TwoArgumentsError")
    assert "one-two" in str(back)


def test_an_exception_that_cannot_be_shown_arrives():
    back = travelled(raised(MuteError()))
    assert "MuteError" in str(back.__cause__)


def test_a_group_of_exceptions_arrives_whole():
    back = travelled(raised(ExceptionGroup("many", [ValueError(1), KeyError(2)])))
    assert [type(each) for each in back.exceptions] == [ValueError, KeyError]


def test_an_exception_of_a_class_made_in_a_function_is_the_same_class_here():
    class LocalError(Exception):
        pass

    back = travelled(raised(LocalError("x")))
    assert type(back) is LocalError


def test_an_error_of_ours_arrives_as_ours_with_its_details():
    error = own_error("TimeLimitError", "too long", raised=raised(ValueError("x")), limit_s=2.5)
    back = exception_from_call_error(call_pb2.CALL_STATUS_TIMEOUT, error)
    assert type(back) is TimeLimitError
    assert back.details["limit_s"] == "2.5"
    assert "ValueError: x" in str(back.__cause__)


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_very_long_traceback_is_cut(size):
    error = call_error(raised(ValueError("x" * size)))
    assert len(error.traceback) < 300_000
