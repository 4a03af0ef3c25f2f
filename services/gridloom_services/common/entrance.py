"""Who may come in to one process: composed from the settings, the same for every service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom_services.common.audit import AuditTrail
from gridloom_services.common.auth import AuthenticatorChain, StaticTokenAuthenticator
from gridloom_services.common.channels import ServiceChannels
from gridloom_services.common.gangs import gangs_of
from gridloom_services.common.interceptors.chain import CallRules
from gridloom_services.common.keyring import KeyRing
from gridloom_services.common.keys import KeyHasher
from gridloom_services.common.remote_audit import RemoteAudit
from gridloom_services.common.remote_keys import RemoteKeys
from gridloom_services.common.ring import Times
from gridloom_services.common.tls import caller_credentials, server_certificates
from gridloom_services.common.tokens import (
    GangTokens,
    ServiceTokens,
    platform_secret,
    read_or_create_token,
)

if TYPE_CHECKING:
    import grpc

    from gridloom_services.common.auth import Authenticator
    from gridloom_services.common.metrics import Metrics
    from gridloom_services.common.settings import ServerSettings


class Entrance:
    """The secret, the tokens and keys that are known here, TLS, and the trail of changes."""

    def __init__(self, settings: ServerSettings, name: str) -> None:
        """For a process of this name. SettingsError for files that cannot be used."""
        self._settings = settings
        self._certificates = server_certificates(settings)
        self._secret = platform_secret(settings.home, settings.secret_file)
        self.gang_tokens = GangTokens(self._secret)
        self.channels = ServiceChannels(
            ServiceTokens(self._secret).issue(name),
            settings.addresses,
            caller_credentials(settings),
        )
        times = Times(settings.key_cache_s, settings.key_hold_s)
        self.keys = KeyRing(KeyHasher(self._secret), RemoteKeys(self.channels), times)
        self.gangs = gangs_of(self.gang_tokens, self.channels, settings.key_cache_s)
        self.audit = AuditTrail(settings.home / f"audit-{name}.jsonl")

    def start(self) -> None:
        """Begin to report changes, unless the scheduler is in this process and has begun to."""
        if not self.audit.has_sink and "scheduler" in self._settings.addresses:
            self.audit.start(RemoteAudit(self.channels))

    async def close(self) -> None:
        """Let go of it all, last of all."""
        await self.audit.close()
        self.keys.close()
        self.gangs.close()
        await self.channels.close()

    def server_credentials(self) -> grpc.ServerCredentials | None:
        """Of the server's port; None: plaintext."""
        return self._certificates.credentials() if self._certificates else None

    def rules(self, metrics: Metrics) -> CallRules:
        """What the interceptors go by."""
        chain: list[Authenticator] = [self.gang_tokens, ServiceTokens(self._secret)]
        if self._settings.secret_file is None:
            # The platform's own people are on this machine.
            token = read_or_create_token(self._settings.home / "token")
            chain.insert(0, StaticTokenAuthenticator(token))
        return CallRules(
            AuthenticatorChain(chain),
            metrics,
            default_deadline_s=self._settings.default_deadline_s,
            keys=self.keys,
            gangs=self.gangs,
            audit=self.audit,
        )
