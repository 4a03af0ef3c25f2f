"""The interceptors of every server, in their order."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from gridloom.values import dataclass

from gridloom_services.common.interceptors.activity import Activity, ActivityInterceptor
from gridloom_services.common.interceptors.audit import AuditInterceptor
from gridloom_services.common.interceptors.auth import AuthInterceptor
from gridloom_services.common.interceptors.deadline import DeadlineInterceptor
from gridloom_services.common.interceptors.errors import ErrorInterceptor
from gridloom_services.common.interceptors.protocol import ProtocolInterceptor
from gridloom_services.common.interceptors.readiness import Readiness, ReadinessInterceptor

if TYPE_CHECKING:
    import grpc

    from gridloom_services.common.audit import AuditTrail
    from gridloom_services.common.auth import Authenticator
    from gridloom_services.common.gangs import Gangs
    from gridloom_services.common.keyring import KeyRing
    from gridloom_services.common.metrics import Metrics


@dataclass(frozen=True, slots=True)
class CallRules:
    """What the interceptors go by; the sets and counters change while the server runs."""

    authenticator: Authenticator
    metrics: Metrics
    default_deadline_s: float = 60.0
    gang_methods: set[str] = field(default_factory=set)
    readiness: Readiness = field(default_factory=Readiness)
    activity: Activity = field(default_factory=Activity)
    # None: nobody comes in with an API key.
    keys: KeyRing | None = None
    # None: a gang's token is good as long as it says itself.
    gangs: Gangs | None = None
    # None: changes are not written down.
    audit: AuditTrail | None = None


def interceptors(rules: CallRules) -> list[grpc.aio.ServerInterceptor]:
    """Outermost first: what an inner one refuses is counted and made a status by the outer ones."""
    chain: list[grpc.aio.ServerInterceptor] = []
    if rules.metrics.is_on:
        from gridloom_services.common.interceptors.metrics import MetricsInterceptor

        chain.append(MetricsInterceptor(rules.metrics))
    chain += [ErrorInterceptor(), ProtocolInterceptor()]
    if rules.audit is not None:
        chain.append(AuditInterceptor(rules.audit))
    chain += [
        AuthInterceptor(rules.authenticator, rules.gang_methods, rules.keys, rules.gangs),
        ReadinessInterceptor(rules.readiness),
        ActivityInterceptor(rules.activity),
        DeadlineInterceptor(rules.default_deadline_s),
    ]
    return chain
