"""From what a user said (or did not) to the platform that is meant."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from gridloom.context import Context, contexts_file, read_contexts
from gridloom.endpoint import Endpoint
from gridloom.errors import InvalidRequestError
from gridloom.home import EmbeddedPlatform, default_home
from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom.channel import Locator

_PLAIN_PORT = 7777
_TLS_PORT = 443


@dataclass(frozen=True, slots=True)
class FixedAddress:
    """A platform that stays where it is; it may be away for a while."""

    endpoint: Endpoint

    @property
    def name(self) -> str:
        """Its address."""
        return self.endpoint.address

    def find(self, *, may_start: bool) -> Endpoint:
        """The address that was given; nothing is ever started there."""
        del may_start
        return self.endpoint


@dataclass(frozen=True, slots=True)
class GangPlatform:
    """The platform that runs this process's job, which knows it by the job's own token.

    An embedded one that was restarted is found again in its home, where that is known.
    """

    endpoint: Endpoint
    platform: EmbeddedPlatform | None = None

    @property
    def name(self) -> str:
        """Its home, else its address."""
        return self.platform.name if self.platform else self.endpoint.address

    def find(self, *, may_start: bool) -> Endpoint:
        """Where the platform is now; a job never starts one."""
        del may_start
        if self.platform is None:
            return self.endpoint
        record = self.platform.running()
        address = record.address if record else self.endpoint.address
        return Endpoint(address, token=self.endpoint.token)


@dataclass(frozen=True, slots=True)
class Place:
    """A platform and the defaults that its context gives."""

    locator: Locator
    project: str = ""
    queue: str = ""

    @property
    def is_embedded(self) -> bool:
        """It lives in a home folder of this machine and is started when it is needed."""
        return isinstance(self.locator, EmbeddedPlatform)


def locate(
    address: str | None = None,
    *,
    api_key: str | None = None,
    context: str | None = None,
    home: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Place:
    """The platform meant: as said, else the environment's, else the current context's."""
    said = [word for word in (address, context, home) if word is not None]
    if len(said) > 1:
        raise InvalidRequestError("give one of address, context and home", field="address")
    if home is not None:
        return Place(EmbeddedPlatform(Path(home).expanduser().absolute()))
    contexts = read_contexts(contexts_file(environment))
    if address is not None:
        chosen = contexts.at(address) or Context(name=address, address=address)
        return _place(chosen, api_key, environment)
    if context is None and "GRIDLOOM_ADDRESS" in environment:
        return _environments_place(environment, api_key)
    name = context or environment.get("GRIDLOOM_CONTEXT") or contexts.current
    return _place(contexts.get(name), api_key, environment)


def _environments_place(environment: Mapping[str, str], api_key: str | None) -> Place:
    """$GRIDLOOM_ADDRESS: a job's own platform (with its token), or what the user has exported."""
    token = environment.get("GRIDLOOM_TOKEN")
    if token is None:
        given = Context(name="environment", address=environment["GRIDLOOM_ADDRESS"])
        return _place(given, api_key, environment)
    ca_file = environment.get("GRIDLOOM_TLS_CA_FILE", "")
    endpoint = endpoint_of(environment["GRIDLOOM_ADDRESS"], token=token, ca_file=ca_file)
    known_home = environment.get("GRIDLOOM_HOME")
    platform = EmbeddedPlatform(Path(known_home)) if known_home else None
    return Place(
        GangPlatform(endpoint, platform),
        project=environment.get("GRIDLOOM_PROJECT", ""),
        queue=environment.get("GRIDLOOM_QUEUE", ""),
    )


def _place(context: Context, api_key: str | None, environment: Mapping[str, str]) -> Place:
    project = environment.get("GRIDLOOM_PROJECT") or context.project
    queue = environment.get("GRIDLOOM_QUEUE") or context.queue
    if context.is_embedded:
        home = Path(context.home).expanduser() if context.home else default_home(environment)
        return Place(EmbeddedPlatform(home), project, queue)
    key = api_key or environment.get("GRIDLOOM_API_KEY") or context.api_key
    ca_file = context.ca_file or environment.get("GRIDLOOM_TLS_CA_FILE", "")
    endpoint = endpoint_of(context.address, token=key, ca_file=ca_file)
    return Place(FixedAddress(endpoint), project, queue)


def endpoint_of(address: str, *, token: str = "", ca_file: str = "") -> Endpoint:
    """The endpoint that "host", "host:port", "http://host:port" or "https://host" means.

    TLS everywhere but on this machine, unless the scheme says otherwise.
    """
    scheme, separator, rest = address.partition("://")
    place = rest if separator else address
    if separator and scheme not in {"http", "https", "grpc", "grpcs"}:
        raise InvalidRequestError(
            f'address "{address}" has an unknown scheme',
            field="address",
            given=address,
            allowed="host:port, http://host:port or https://host:port",
        )
    host, port = _host_and_port(place.rstrip("/"), address)
    plain = Endpoint(f"{host}:{port or _PLAIN_PORT}", token=token)
    tls = scheme in {"https", "grpcs"} if separator else not plain.is_local
    return (
        Endpoint(f"{host}:{port or _TLS_PORT}", token, tls=True, ca_file=ca_file) if tls else plain
    )


def _host_and_port(place: str, address: str) -> tuple[str, int | None]:
    host, separator, port = place.rpartition(":")
    if not separator or place.endswith("]"):
        host, port = place, ""
    is_port = not port or (port.isdecimal() and 0 < int(port) < 1 << 16)
    if not host or not is_port:
        raise InvalidRequestError(
            f'address "{address}" is not a host and port',
            field="address",
            given=address,
            allowed="host or host:port",
        )
    return host, int(port) if port else None
