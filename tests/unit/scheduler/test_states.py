from __future__ import annotations

import itertools

import pytest
from gridloom.api.scheduler.v1 import job_pb2
from gridloom_services.scheduler.states import (
    FailureClass,
    IllegalTransitionError,
    JobState,
    check_transition,
)

# Said here a second time, as sentences: what may follow what.
ALLOWED = {
    "HELD": "QUEUED FAILED CANCELLED",
    "QUEUED": "HELD STARTING FAILED CANCELLED",
    "STARTING": "QUEUED RUNNING SUCCEEDED FAILED CANCELLED",
    "RUNNING": "QUEUED SUCCEEDED FAILED CANCELLED",
    "SUCCEEDED": "",
    "FAILED": "",
    "CANCELLED": "",
}


@pytest.mark.parametrize(
    ("before", "after"),
    list(itertools.product(JobState, JobState)),
    ids=lambda state: state.name,
)
def test_every_pair_of_states_is_allowed_or_refused_by_the_table(before: JobState, after: JobState):
    if after.name in ALLOWED[before.name].split():
        check_transition(before, after)
    else:
        with pytest.raises(IllegalTransitionError, match=f"{before.name} to {after.name}"):
            check_transition(before, after)


def test_what_is_final_has_no_way_out_and_the_rest_has_one():
    for state in JobState:
        assert state.is_final == (not ALLOWED[state.name])


def test_the_numbers_are_those_of_the_api():
    assert {f"JOB_STATE_{state.name}": state.value for state in JobState} == {
        name: number for name, number in job_pb2.JobState.items() if name != "JOB_STATE_UNSPECIFIED"
    }
    assert {f"FAILURE_CLASS_{each.name}": each.value for each in FailureClass if each} == {
        name: number for name, number in job_pb2.FailureClass.items() if number
    }
