"""What a service is to those who run it: an `App`, and the `PlatformContext` that it is built from.

A service `X` has `X/settings.py` with a frozen dataclass `XSettings`, and `X/app.py` with

    async def build(context: PlatformContext, settings: XSettings) -> App

which opens the store and makes the parts; it calls no other service, and leaves nothing open where
it fails. Then, in this order: `add_to` (before the server listens), `start` (gangs are adopted,
background work begins; calls to this service are refused as unavailable until it returns, those to
services earlier in the order are answered), calls, `drain`, `stop`. The order is objects,
scheduler, functions, mpi.
"""

from __future__ import annotations

import os
from dataclasses import field
from typing import TYPE_CHECKING, Protocol

from gridloom.values import dataclass

from gridloom_services.common.metrics import NO_METRICS, Metrics

if TYPE_CHECKING:
    from pathlib import Path

    import grpc

    from gridloom_services.common.audit import AuditTrail
    from gridloom_services.common.channels import Channels
    from gridloom_services.common.keyring import KeyRing
    from gridloom_services.common.stop import Stop
    from gridloom_services.common.tokens import GangTokens

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes that hold everywhere."""

    # Of one gRPC message, either way.
    message: int = 64 * MIB
    # Of one chunk in a stream of bytes.
    chunk: int = MIB
    # Of one object: an argument, a result, a file.
    object: int = 64 * 1024 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformContext:
    """What a service is given. One process has one, whether it runs one service or all of them."""

    # The platform's folder. A service works in `home / NAME`, see `folder`.
    home: Path
    # "HOST:PORT" where clients and gangs reach the platform.
    address: str
    # Opens channels to services, this process's own included; each with a token of this service.
    channels: Channels
    # Issues the tokens of gangs. The scheduler tells it who is alive.
    gang_tokens: GangTokens
    # Whose API keys those are that callers show. The scheduler tells it.
    keys: KeyRing
    # What was changed, on its way to where that is kept. The scheduler says where.
    audit: AuditTrail
    # Streams end in good order when it is requested.
    stop: Stop
    metrics: Metrics = NO_METRICS
    limits: Limits = field(default_factory=Limits)
    # Of the settings that all services share.
    bootstrap_key_file: Path | None = None
    common_database_url: str = ""
    start_patience_s: float = 0.0

    def folder(self, service: str) -> Path:
        """The folder of a service, made now if it is missing; nobody else may read it."""
        path = self.home / service
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def database_url(self, service: str, given: str = "") -> str:
        """The URL of the service's own settings, of all services', or of a file in its folder."""
        sqlite = f"sqlite:///{self.folder(service) / service}.db"
        return given or self.common_database_url or sqlite


class App(Protocol):
    """A composed service."""

    @property
    def name(self) -> str:
        """The service's word: "objects"."""
        ...

    @property
    def grpc_services(self) -> tuple[str, ...]:
        """Full names, for health and reflection: "gridloom.api.objects.v1.ObjectsService"."""
        ...

    @property
    def gang_methods(self) -> frozenset[str]:
        """What the processes of a gang may call: "/gridloom.api.objects.v1.ObjectsService/..."."""
        ...

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the servicers: `add_XServiceServicer_to_server(servicer, server)`."""
        ...

    async def start(self) -> None:
        """Adopt what runs, begin background work. When it returns, the service answers.

        StartError where it cannot.
        """
        ...

    async def drain(self) -> None:
        """Stage one of the stop: take no new work, bring open streams to a good end soon."""
        ...

    async def stop(self) -> None:
        """Let go of everything: stores closed, tasks over. Jobs go on running.

        Also called after a failed `start`, and without `drain` in a hard stop.
        """
        ...

    def is_idle(self) -> bool:
        """Nothing runs or waits here that somebody wants done."""
        ...


def methods(service: str, *names: str) -> frozenset[str]:
    """Full names of methods of one gRPC service."""
    return frozenset(f"/{service}/{name}" for name in names)


def usable_cpus() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
