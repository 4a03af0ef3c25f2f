from __future__ import annotations

import pytest
from gridloom_services.scheduler.runtime.kubernetes.api import ApiError
from gridloom_services.scheduler.runtime.kubernetes.refusals import refusal
from gridloom_services.scheduler.states import FailureClass


@pytest.mark.parametrize(
    ("status", "message", "failure", "reason"),
    [
        (
            403,
            'pods "job-a" is forbidden: exceeded quota: small, requested: cpu=2, limited: cpu=1',
            FailureClass.UNSCHEDULABLE,
            "the namespace's quota is in the way: small, requested: cpu=2, limited: cpu=1",
        ),
        (
            400,
            'admission webhook "policy.example" denied the request: sign it',
            FailureClass.APPLICATION_ERROR,
            'the cluster\'s admission webhook "policy.example" refuses its pod: sign it',
        ),
        (
            403,
            'pods "job-a" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot',
            FailureClass.APPLICATION_ERROR,
            'the namespace\'s pod security level "restricted:latest" refuses it: runAsNonRoot',
        ),
        (
            403,
            'namespace "jobs" is being terminated',
            FailureClass.UNSCHEDULABLE,
            'the cluster does not let its pod be made: namespace "jobs" is being terminated',
        ),
        (
            422,
            'Pod "job-a" is invalid: spec.hostname: no',
            FailureClass.APPLICATION_ERROR,
            'the cluster will not have its pod: Pod "job-a" is invalid: spec.hostname: no',
        ),
    ],
)
def test_each_refusal_has_its_own_words_and_class(status, message, failure, reason):
    verdict = refusal(ApiError(status, "Forbidden", message))
    assert (verdict.failure_class, verdict.reason) == (failure, reason)
    assert verdict.exit_code == (125 if failure is FailureClass.APPLICATION_ERROR else None)
