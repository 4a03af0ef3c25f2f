from __future__ import annotations

from gridloom_services.scheduler.job import FRESH, Tries
from gridloom_services.scheduler.retry import can_grow, grown_roles, next_try
from gridloom_services.scheduler.spec import DEFAULT_RETRY, RetryPolicy
from gridloom_services.scheduler.states import FailureClass
from hypothesis import given
from hypothesis import strategies as st

from tests.support.scheduler import NOW_US, a_role

ERROR, LOST = FailureClass.APPLICATION_ERROR, FailureClass.NODE_LOST
MEMORY = FailureClass.OUT_OF_MEMORY
SECOND_US = 1_000_000


def policy(backoff_s: int = 2, most_s: int = 10, **retries: int) -> RetryPolicy:
    rules = {FailureClass[name.upper()]: count for name, count in retries.items()}
    return RetryPolicy(rules, backoff_s * SECOND_US, most_s * SECOND_US)


def test_a_class_without_retries_is_not_tried_again():
    assert next_try(DEFAULT_RETRY, FRESH, ERROR, NOW_US, can_grow=True) is None


def test_a_lost_node_is_forgiven_three_times_by_default():
    tries: Tries | None = FRESH
    for attempt in (1, 2, 3):
        tries = next_try(DEFAULT_RETRY, tries or FRESH, LOST, NOW_US, can_grow=True)
        assert tries is not None
        assert tries.attempts == attempt
    assert next_try(DEFAULT_RETRY, tries or FRESH, LOST, NOW_US, can_grow=True) is None


def test_each_class_has_retries_of_its_own():
    rules = policy(application_error=1, node_lost=1)
    first = next_try(rules, FRESH, ERROR, NOW_US, can_grow=True)
    assert first is not None
    assert next_try(rules, first, ERROR, NOW_US, can_grow=True) is None
    assert next_try(rules, first, LOST, NOW_US, can_grow=True) is not None


def test_the_pause_doubles_up_to_its_limit():
    rules, tries, pauses = policy(application_error=5), FRESH, []
    for _ in range(5):
        found = next_try(rules, tries, ERROR, NOW_US, can_grow=True)
        assert found is not None
        tries = found
        pauses.append((tries.not_before_us - NOW_US) // SECOND_US)
    assert pauses == [2, 4, 8, 10, 10]


def test_out_of_memory_is_tried_again_with_twice_as_much():
    tries = next_try(policy(out_of_memory=2), FRESH, MEMORY, NOW_US, can_grow=True)
    assert tries is not None
    assert tries.memory_factor == 2
    roles = (a_role(memory=100), a_role("free"))
    assert grown_roles(roles, 2, 1000)[0].resources["memory"] == 200
    assert "memory" not in grown_roles(roles, 2, 1000)[1].resources


def test_memory_grows_up_to_the_largest_node_and_then_no_more():
    roles = (a_role(memory=600),)
    assert grown_roles(roles, 2, 1000)[0].resources["memory"] == 1000
    assert can_grow(roles, 1, 1000)
    assert not can_grow(roles, 2, 1000)
    assert next_try(policy(out_of_memory=2), FRESH, MEMORY, NOW_US, can_grow=False) is None


def test_a_role_larger_than_every_node_keeps_what_it_asked():
    assert grown_roles((a_role(memory=600),), 2, 500)[0].resources["memory"] == 600


@given(st.integers(0, 60), st.integers(0, 10**12), st.integers(0, 10**12))
def test_no_pause_is_longer_than_its_limit(used: int, backoff_us: int, more_us: int):
    rules = RetryPolicy({ERROR: 1000}, backoff_us, backoff_us + more_us)
    tries = Tries(attempts=used, used={ERROR: used})
    found = next_try(rules, tries, ERROR, NOW_US, can_grow=True)
    assert found is not None
    assert backoff_us <= found.not_before_us - NOW_US <= backoff_us + more_us
