from __future__ import annotations

import copy
import pickle

import pytest
from gridloom import Retries, Role
from gridloom.errors import InvalidRequestError


def test_a_number_counts_failures_of_the_programs_own():
    assert Retries.of(2) == Retries(error=2)
    assert Retries.of(None) == Retries()
    assert Retries.of(Retries(node_lost=1)) == Retries(node_lost=1)


@pytest.mark.parametrize("given", [True, -1, 1.5, "2", 10_000])
def test_what_is_no_number_of_retries_is_refused(given: object):
    with pytest.raises(InvalidRequestError) as refusal:
        Retries.of(given)  # type: ignore[arg-type]
    assert refusal.value.field == "retries"


@pytest.mark.parametrize("words", [{"error": -1}, {"backoff": "soon"}, {"node_lost": "3"}])
def test_each_word_is_checked_where_it_is_written(words: dict[str, object]):
    with pytest.raises(InvalidRequestError) as refusal:
        Retries(**words)  # type: ignore[arg-type]
    assert refusal.value.field == f"retries.{next(iter(words))}"


def test_a_misspelt_word_is_refused_with_the_right_one():
    with pytest.raises(InvalidRequestError, match='did you mean "node_lost"'):
        Retries(nodelost=3)  # type: ignore[call-arg]
    with pytest.raises(InvalidRequestError, match='did you mean "cpus"'):
        Role("worker", ["true"], cpu=1)  # type: ignore[call-arg]


def test_they_are_values():
    for value in (Retries(error=1, backoff="2s"), Role("worker", ["true"], env={"A": 1})):
        assert pickle.loads(pickle.dumps(value)) == value
        assert copy.copy(value) == value
