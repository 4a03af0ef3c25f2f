"""Where a platform is and with what one enters: a value, before any channel."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path

from gridloom.errors import InvalidRequestError
from gridloom.values import dataclass
from gridloom.version import PROTOCOL, VERSION

_OPTIONS = (
    # A restarted platform is found again at once: gRPC's own first pause is a second.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.use_local_subchannel_pool", 1),
    # The server has the say about sizes.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)
# A proxy of the environment is for the world outside.
_LOCAL_OPTIONS = (("grpc.enable_http_proxy", 0),)
# Elsewhere a connection may die without a word.
_REMOTE_OPTIONS = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)
_LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a platform is and with what one enters."""

    address: str
    token: str = field(default="", repr=False)
    tls: bool = False
    ca_file: str = ""
    socket: str = ""
    """A unix socket of the same platform on this machine: sooner there than over TCP."""
    pipes: str = ""
    """Another one, for streams of calls without gRPC: much sooner there."""

    @property
    def target(self) -> str:
        """What a channel is opened to."""
        return f"unix:{self.socket}" if self.socket else self.address

    @property
    def is_local(self) -> bool:
        """It is on this machine."""
        return self.address.rpartition(":")[0] in _LOCAL_HOSTS

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every call."""
        spoken = (("gridloom-protocol", str(PROTOCOL)), ("gridloom-client", VERSION))
        if not self.token:
            return spoken
        return (*spoken, ("authorization", f"Bearer {self.token}"))

    @property
    def options(self) -> tuple[tuple[str, int], ...]:
        """The channel's arguments."""
        return _OPTIONS + (_LOCAL_OPTIONS if self.is_local else _REMOTE_OPTIONS)

    def root_certificates(self) -> bytes | None:
        """Whom to trust: the CA that was named, else whom the system trusts.

        None where the system has no such list: whom gRPC trusts. An `InvalidRequestError` where the
        named file cannot be read.
        """
        import ssl

        system = ssl.get_default_verify_paths().cafile
        try:
            if self.ca_file:
                return Path(self.ca_file).read_bytes()
            return Path(system).read_bytes() if system else None
        except OSError as error:
            raise InvalidRequestError(
                f"{error.filename} cannot be read: {error.strerror}",
                field="ca_file",
                given=self.ca_file,
            ) from None
