from __future__ import annotations

import random

import pytest
from gridloom.patience import Patience


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_pauses_double_up_to_a_longest_one():
    patience = Patience(None)
    pauses = [patience.next_pause_s() or 0 for _ in range(12)]
    assert 0.025 <= pauses[0] <= 0.05
    assert 0.4 <= pauses[4] <= 0.8
    assert all(1.0 <= pause <= 2.0 for pause in pauses[8:])


def test_the_hint_of_the_server_goes_before_ones_own_pause():
    assert Patience(None).next_pause_s(hint_s=7.5) == 7.5


def test_a_pause_that_would_end_after_the_deadline_is_not_made():
    clock = Clock()
    patience = Patience(10, clock)
    assert patience.remaining_s == 10
    assert patience.next_pause_s(hint_s=9) == 9
    clock.now += 9
    assert patience.next_pause_s(hint_s=2) is None
    clock.now += 5
    assert patience.remaining_s == 0
    assert patience.next_pause_s() is None


def test_an_answer_renews_patience():
    clock = Clock()
    patience = Patience(10, clock)
    for _ in range(8):
        patience.next_pause_s()
    clock.now += 9
    patience.renewed()
    assert patience.remaining_s == 10
    assert (patience.next_pause_s() or 1) <= 0.05


def test_the_users_own_random_numbers_are_not_touched():
    before = random.getstate()
    Patience(None).next_pause_s()
    assert random.getstate() == before


def test_the_trouble_after_a_stream_that_was_served_is_a_new_one():
    clock = Clock()
    for was_told, lasted_s, remaining_s in (
        *((True, 0.4, 9.6), (True, 20.0, 10.0)),
        *((False, 9.0, 1.0), (False, 31.0, 10.0)),
    ):
        patience = Patience(10, clock)
        patience.stream_begins()
        clock.now += lasted_s
        patience.stream_ended(was_told=was_told)
        assert patience.remaining_s == pytest.approx(remaining_s)
