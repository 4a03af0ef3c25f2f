"""How one service reaches another: asyncio channels with the service's own token on each call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import grpc

from gridloom_services.common.errors import StartError
from gridloom_services.common.tls import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gridloom_services.common.tls import CallerCredentials

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

# What is under way on a channel whose certificate was renewed has this long to come to its end.
_FAREWELL_S = 60.0


class Channels(Protocol):
    """Knows where each service is."""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Goes with each call: `stub.GetJob(request, metadata=channels.metadata, timeout=5)`."""
        ...

    def channel(self, service: str) -> grpc.aio.Channel:
        """The channel to a service by its word, opened at first use. Ask anew for each call.

        StartError if nobody has said where it is.
        """
        ...


class ServiceChannels:
    """Channels by address, one each."""

    def __init__(
        self,
        token: str,
        addresses: Mapping[str, str],
        credentials: CallerCredentials | None = None,
    ) -> None:
        """With credentials, channels have TLS, but those to this machine."""
        self._addresses = dict(addresses)
        self._credentials = credentials
        self._open: dict[str, grpc.aio.Channel] = {}
        self._leaving: set[asyncio.Task[None]] = set()
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
        if self._credentials is not None and self._credentials.have_changed():
            self._leave_secured()
        if address not in self._open:
            self._open[address] = self._opened(address)
        return self._open[address]

    def _is_secured(self, address: str) -> bool:
        return self._credentials is not None and not is_loopback(address.rpartition(":")[0])

    def _opened(self, address: str) -> grpc.aio.Channel:
        if self._credentials is None or not self._is_secured(address):
            return grpc.aio.insecure_channel(address, options=_OPTIONS)
        return grpc.aio.secure_channel(address, self._credentials.current, options=_OPTIONS)

    def _leave_secured(self) -> None:
        """A channel connects again with what it was made with: later calls take new ones."""
        for address in [each for each in self._open if self._is_secured(each)]:
            old = self._open.pop(address)
            task = asyncio.get_running_loop().create_task(old.close(_FAREWELL_S))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """End the channels and the calls on them."""
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        while self._open:
            _, channel = self._open.popitem()
            await channel.close()
