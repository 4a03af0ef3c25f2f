from __future__ import annotations

import pytest
from gridloom.errors import InvalidRequestError
from gridloom.jobs.filters import filter_message, selector_of, states_of
from gridloom.jobs.states import JobState


@pytest.mark.parametrize(
    ("given", "states"),
    [
        ("running", [JobState.RUNNING]),
        ("RUNNING, failed", [JobState.RUNNING, JobState.FAILED]),
        ("active", [JobState.STARTING, JobState.RUNNING]),
        (["pending", "HELD"], [JobState.HELD, JobState.QUEUED]),
        (JobState.FAILED, [JobState.FAILED]),
        ("", []),
    ],
)
def test_states_are_named_in_any_case_alone_or_in_groups(given: str, states: list[JobState]):
    assert states_of(given) == states


def test_an_unknown_state_is_refused_with_the_nearest_one():
    with pytest.raises(InvalidRequestError, match='did you mean "running"'):
        states_of("runing")


def test_labels_are_a_mapping_or_a_selector():
    assert selector_of({"study": "a", "step": 3}) == "study=a,step=3"
    assert selector_of("study=a,!draft") == "study=a,!draft"
    with pytest.raises(InvalidRequestError, match="labels cannot hold"):
        selector_of({"a": "b,c"})


def test_the_words_of_a_filter_travel():
    message = filter_message({"state": "held", "queue": "cpu", "labels": {"a": "b"}})
    assert (message.queue, message.label_selector, len(message.states)) == ("cpu", "a=b", 1)
    with pytest.raises(InvalidRequestError, match='did you mean "labels"'):
        filter_message({"label": "x"})  # type: ignore[typeddict-unknown-key]
