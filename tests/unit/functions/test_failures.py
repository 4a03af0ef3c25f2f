"""The sentences that users read in place of a value."""

from __future__ import annotations

import signal

from gridloom_services.common.errors import InvalidRequestError
from gridloom_services.functions import failures
from gridloom_services.functions.call import Attempts, Status

MIB = 1 << 20


def test_out_of_memory_says_how_much_it_had_and_might_have_had_and_what_to_do():
    details = (("peak_bytes", str(170 * MIB)), ("limit_bytes", str(150 * MIB)))
    failure = failures.out_of_memory(details)
    assert "it had 170 MiB, and its share is 150 MiB" in failure.message
    assert failure.message.endswith("ask for more with memory=")
    assert dict(failure.details) == dict(details)


def test_where_the_machine_had_no_more_memory_no_share_is_named():
    failure = failures.out_of_memory((("peak_bytes", str(170 * MIB)),))
    assert failure.message == "the worker process ran out of memory in this call: it had 170 MiB"


def test_a_signal_is_called_by_its_name():
    details = (("signal", str(int(signal.SIGSEGV))),)
    failure = failures.worker_died(Attempts(deaths=3), details)
    assert "(killed by SIGSEGV, signal 11)" in failure.message
    assert "as 2 more had before" in failure.message
    assert "signal 40)" in failures.worker_died(Attempts(deaths=1), (("signal", "40"),)).message


def test_a_refusal_of_the_platform_is_told_to_a_call_as_to_a_request():
    refusal = InvalidRequestError("no such queue", field="queue", given="gpuu", allowed="cpu")
    failure = failures.of_error(refusal)
    assert failure.status is Status.REFUSED
    assert (failure.type, failure.message) == (
        "gridloom.errors.InvalidRequestError",
        "no such queue",
    )
    assert dict(failure.details) == {"field": "queue", "given": "gpuu", "allowed": "cpu"}
