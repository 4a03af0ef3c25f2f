from __future__ import annotations

from itertools import pairwise

import pytest
from gridloom_services.scheduler.runs import Run, RunLength
from gridloom_services.scheduler.states import JobState
from hypothesis import given
from hypothesis import strategies as st

QUEUED, RUNNING, FAILED = JobState.QUEUED, JobState.RUNNING, JobState.FAILED
SIZE = 12


def test_a_uniform_array_is_one_run():
    runs = RunLength.uniform(100_000, QUEUED)
    assert runs.runs() == (Run(0, 100_000, QUEUED),)
    assert len(runs) == 100_000


def test_setting_one_element_cuts_a_run_in_three():
    runs = RunLength.uniform(10, QUEUED)
    runs.set(4, RUNNING)
    assert runs.runs() == (Run(0, 4, QUEUED), Run(4, 1, RUNNING), Run(5, 5, QUEUED))


def test_neighbours_in_the_same_state_are_one_run_again():
    runs = RunLength.uniform(10, QUEUED)
    runs.set(4, RUNNING)
    runs.set(4, QUEUED)
    assert runs.runs() == (Run(0, 10, QUEUED),)


def test_selecting_returns_the_runs_in_those_states_only():
    runs = RunLength([Run(0, 2, QUEUED), Run(2, 3, RUNNING), Run(5, 1, QUEUED)])
    assert runs.select({QUEUED}) == [Run(0, 2, QUEUED), Run(5, 1, QUEUED)]


@pytest.mark.parametrize(("position", "count"), [(-1, 1), (10, 1), (5, 6), (0, 0)])
def test_positions_outside_are_refused(position: int, count: int):
    runs = RunLength.uniform(10, QUEUED)
    with pytest.raises(IndexError):
        runs.set(position, RUNNING, count)


def test_runs_that_do_not_follow_each_other_are_refused():
    with pytest.raises(ValueError, match="does not follow"):
        RunLength([Run(0, 2, QUEUED), Run(3, 1, RUNNING)])


@given(
    st.lists(
        st.tuples(st.integers(0, SIZE - 1), st.integers(1, SIZE), st.sampled_from(list(JobState))),
        max_size=20,
    )
)
def test_it_behaves_as_a_plain_list_of_states_does(changes: list[tuple[int, int, JobState]]):
    plain = [QUEUED] * SIZE
    runs = RunLength.uniform(SIZE, QUEUED)
    for first, wished, state in changes:
        count = min(wished, SIZE - first)
        plain[first : first + count] = [state] * count
        runs.set(first, state, count)
    assert [runs[position] for position in range(SIZE)] == plain
    assert {state: n for state, n in runs.counts.items() if n} == {
        state: plain.count(state) for state in set(plain)
    }
    states = [run.state for run in runs.runs()]
    assert all(one != other for one, other in pairwise(states))
    assert RunLength(runs.runs()).runs() == runs.runs()
