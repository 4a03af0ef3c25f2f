from __future__ import annotations

import pytest
from gridloom_services.scheduler.runtime.kubernetes.api import ApiError

DENIED = 'pods is forbidden: User "scheduler" cannot create resource "pods" in API group ""'


@pytest.mark.parametrize(
    ("status", "message", "early"),
    [
        (401, "Unauthorized", True),
        (403, DENIED, True),
        (403, 'pods "a" is forbidden: exceeded quota: small, requested: pods=1', False),
        (403, 'admission webhook "a" denied the request: User "b" cannot sign', False),
        (404, DENIED, False),
    ],
)
def test_a_server_that_is_just_starting_may_not_know_rights_yet(status, message, early):
    assert ApiError(status, "", message).may_be_early is early
