from __future__ import annotations

import json

import pytest
from gridloom_services.scheduler.runtime.kubernetes.api import ApiError
from gridloom_services.scheduler.runtime.kubernetes.streams import exit_code_of


def test_the_last_message_of_a_stream_is_an_exit_code():
    cause = {"reason": "ExitCode", "message": "7"}
    failed = {"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": [cause]}}
    assert exit_code_of(b'{"status": "Success"}') == 0
    assert exit_code_of(json.dumps(failed).encode()) == 7


def test_a_command_that_never_ran_is_an_error():
    message = {"status": "Failure", "message": "no such file"}
    with pytest.raises(ApiError, match="no such file"):
        exit_code_of(json.dumps(message).encode())
