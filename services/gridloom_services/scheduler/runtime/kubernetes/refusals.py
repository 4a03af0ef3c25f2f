"""What it means when the API server will not have a pod, in words for whoever submitted it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gridloom_services.scheduler.runtime.base import EXIT_NOT_STARTED
from gridloom_services.scheduler.runtime.kubernetes.verdicts import Verdict, verdict
from gridloom_services.scheduler.states import FailureClass

if TYPE_CHECKING:
    from gridloom_services.scheduler.runtime.kubernetes.api import ApiError

_FORBIDDEN = 403
_QUOTA = re.compile(r"exceeded quota: (?P<rest>.*)", re.DOTALL)
_WEBHOOK = re.compile(
    r'admission webhook "(?P<name>[^"]+)" denied the request:? ?(?P<rest>.*)', re.DOTALL
)
_POLICY = re.compile(r'violates PodSecurity "(?P<name>[^"]+)": (?P<rest>.*)', re.DOTALL)


def refusal(error: ApiError) -> Verdict:
    """Return how a unit ended whose pod was refused for good."""
    failure, reason = _cause(error)
    code = EXIT_NOT_STARTED if failure is FailureClass.APPLICATION_ERROR else None
    return verdict(failure, reason, code)


def _cause(error: ApiError) -> tuple[FailureClass, str]:
    message = " ".join(error.message.split())
    if found := _QUOTA.search(message):
        # Others may give back what they have: it can be tried again.
        return FailureClass.UNSCHEDULABLE, f"the namespace's quota is in the way: {found['rest']}"
    if found := _WEBHOOK.search(message):
        why = found["rest"] or "without a reason"
        return (
            FailureClass.APPLICATION_ERROR,
            f'the cluster\'s admission webhook "{found["name"]}" refuses its pod: {why}',
        )
    if found := _POLICY.search(message):
        return (
            FailureClass.APPLICATION_ERROR,
            f'the namespace\'s pod security level "{found["name"]}" refuses it: {found["rest"]}',
        )
    if error.status == _FORBIDDEN:
        return FailureClass.UNSCHEDULABLE, f"the cluster does not let its pod be made: {message}"
    return FailureClass.APPLICATION_ERROR, f"the cluster will not have its pod: {message}"
