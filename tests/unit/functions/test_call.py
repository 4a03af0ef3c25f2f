import pytest
from gridloom_services.functions.call import (
    Attempts,
    CallState,
    Retries,
    Status,
    call_id,
    group_id,
    session_name,
    split_call_id,
    split_group_id,
    split_stored_id,
    state_of,
    stored_id,
)

KEY = bytes(range(16))
COUNTED = [Status.ERROR, Status.WORKER_DIED, Status.TIMEOUT, Status.OUT_OF_MEMORY]


def test_a_session_is_named_by_the_first_ten_bytes_of_its_key():
    assert session_name(KEY) == "aaaqeayeaudaocaj"
    assert session_name(KEY[:10] + b"other!") == session_name(KEY)


def test_ids_name_session_and_number():
    name = session_name(KEY)
    assert split_call_id(call_id(name, 7)) == (name, 7)
    assert split_group_id(group_id(name, 3)) == (name, 3)


@pytest.mark.parametrize("text", ["", "call_x_1", "group_aaaqeayeaudaocaj_0", "job_1", "call__"])
def test_what_is_no_id_is_told_apart(text):
    assert split_call_id(text) is None
    assert split_group_id(text) is None


def test_a_stored_id_holds_session_and_sequence():
    assert split_stored_id(stored_id(12, 345)) == (12, 345)


@pytest.mark.parametrize("status", COUNTED)
def test_each_kind_of_failure_is_counted_and_allowed_by_itself(status):
    field = {
        Status.ERROR: "error",
        Status.WORKER_DIED: "worker_died",
        Status.TIMEOUT: "timeout",
        Status.OUT_OF_MEMORY: "out_of_memory",
    }[status]
    retries = Retries(**{"worker_died": 0, field: 1})
    once = Attempts().after(status)
    assert once.number == 2
    assert once.retry_delay_s(retries, status) == 0
    assert once.after(status).retry_delay_s(retries, status) is None
    assert all(
        Attempts().after(other).retry_delay_s(retries, other) is None
        for other in COUNTED
        if other is not status
    )


@pytest.mark.parametrize("status", [Status.CANCELLED, Status.REFUSED, Status.DEPENDENCY_FAILED])
def test_what_nobody_can_mend_is_never_retried(status):
    assert Attempts().after(status) == Attempts()
    assert Attempts().retry_delay_s(Retries(9, 9, 9, 9), status) is None


def test_a_call_is_given_to_three_workers_unless_asked_otherwise():
    attempts, delays = Attempts(), []
    for _ in range(3):
        attempts = attempts.after(Status.WORKER_DIED)
        delays.append(attempts.retry_delay_s(Retries(), Status.WORKER_DIED))
    assert delays == [0, 0, None]


def test_back_off_doubles_up_to_its_limit():
    retries, attempts, delays = Retries(error=5, backoff_ms=100, max_backoff_ms=500), Attempts(), []
    for _ in range(5):
        attempts = attempts.after(Status.ERROR)
        delays.append(attempts.retry_delay_s(retries, Status.ERROR))
    assert delays == [0.1, 0.2, 0.4, 0.5, 0.5]


def test_a_call_with_many_items_ends_as_the_worst_of_them():
    assert state_of(b"\x01\x01") is CallState.SUCCEEDED
    assert state_of(b"\x01\x04") is CallState.CANCELLED
    assert state_of(b"\x01\x04\x02") is CallState.FAILED
