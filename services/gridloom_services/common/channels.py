"""How one service reaches another: asyncio channels with the service's own token on each call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import grpc

from gridloom_services.common.errors import StartError
from gridloom_services.common.tls import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MIB = 1 << 20

_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", 64 * MIB),
    ("grpc.max_send_message_length", 64 * MIB),
    # Services talk to each other directly, whatever proxy the environment names.
    ("grpc.enable_http_proxy", 0),
)


class Channels(Protocol):
    """Knows where each service is."""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Goes with each call: `stub.GetJob(request, metadata=channels.metadata, timeout=5)`."""
        ...

    def channel(self, service: str) -> grpc.aio.Channel:
        """The channel to a service by its word; opened at first use, kept until the end.

        StartError if nobody has said where it is.
        """
        ...


class ServiceChannels:
    """Channels by address, one each."""

    def __init__(
        self,
        token: str,
        addresses: Mapping[str, str],
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        """With credentials, channels have TLS, but those to this machine."""
        self._addresses = dict(addresses)
        self._credentials = credentials
        self._open: dict[str, grpc.aio.Channel] = {}
        self.metadata = (("authorization", f"Bearer {token}"),)

    def are_here(self, address: str, services: Iterable[str]) -> None:
        """These are in this process, whatever the settings say of them."""
        self._addresses.update(dict.fromkeys(services, address))

    def channel(self, service: str) -> grpc.aio.Channel:
        """One channel an address, shared by the services there."""
        address = self._addresses.get(service)
        if address is None:
            key = f"GRIDLOOM_{service.upper()}_ADDRESS"
            raise StartError(
                f"where is the {service} service? Set {key} to its HOST:PORT", field=key
            )
        if address not in self._open:
            self._open[address] = self._opened(address)
        return self._open[address]

    def _opened(self, address: str) -> grpc.aio.Channel:
        if self._credentials is None or is_loopback(address.rpartition(":")[0]):
            return grpc.aio.insecure_channel(address, options=_OPTIONS)
        return grpc.aio.secure_channel(address, self._credentials, options=_OPTIONS)

    async def close(self) -> None:
        """End the channels and the calls on them."""
        while self._open:
            _, channel = self._open.popitem()
            await channel.close()
