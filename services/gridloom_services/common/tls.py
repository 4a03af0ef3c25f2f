"""TLS of servers and between services. Certificates are files, read again when they change."""

from __future__ import annotations

import ipaddress
import logging
import ssl
import time
from typing import TYPE_CHECKING

import grpc
from gridloom.values import dataclass

from gridloom_services.common.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from gridloom_services.common.settings import ServerSettings

_log = logging.getLogger(__name__)

LOOK_S = 5.0
"""How long after a change the files of callers may still be taken for what they were."""

Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where a process's certificate, its key and the CA of its callers are."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    def stamp(self) -> Stamp:
        """Changes when a file does, also one behind a link. OSError where one is missing."""
        return _stamp(*(path for path in (self.cert, self.key, self.client_ca) if path))

    def read(self) -> grpc.ServerCertificateConfiguration:
        """What is in them now. OSError, or ssl.SSLError where key and certificate do not match."""
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.cert, self.key)
        pair = (self.key.read_bytes(), self.cert.read_bytes())
        roots = self.client_ca.read_bytes() if self.client_ca else None
        return grpc.ssl_server_certificate_configuration([pair], roots)


class Certificates:
    """A server's certificate as its files have it; while they are wrong, as it was before."""

    def __init__(self, files: TlsFiles) -> None:
        """SettingsError where the files cannot be used now."""
        self._files = files
        try:
            self._stamp = files.stamp()
            self._first = files.read()
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                f"TLS with {files.cert} and {files.key} cannot be: {_reason(error)}",
                field="tls_cert_file",
            ) from error

    def credentials(self) -> grpc.ServerCredentials:
        """For a port; they follow the files from the next connection on."""
        return grpc.dynamic_ssl_server_credentials(
            self._first,
            self.newer,  # type: ignore[arg-type]  # None is allowed: unchanged
            require_client_authentication=self._files.client_ca is not None,
        )

    def newer(self) -> grpc.ServerCertificateConfiguration | None:
        """What to use from now on; None: what was used. gRPC asks at each connection."""
        try:
            stamp = self._files.stamp()
            if stamp == self._stamp:
                return None
            self._stamp = stamp
            found = self._files.read()
        except (OSError, ssl.SSLError) as error:
            _log.error("the new certificate cannot be used", extra={"reason": _reason(error)})
            return None
        _log.info("the certificate has changed", extra={"file": str(self._files.cert)})
        return found


def server_certificates(settings: ServerSettings) -> Certificates | None:
    """The certificate that the settings name; None: plaintext.

    SettingsError where they are halves, and where plaintext would leave this machine unasked.
    """
    cert, key = settings.tls_cert_file, settings.tls_key_file
    if (cert is None) != (key is None):
        missing = "tls_key_file" if key is None else "tls_cert_file"
        raise SettingsError(
            f"TLS takes a certificate and its key: set GRIDLOOM_{missing.upper()} too",
            field=missing,
        )
    if cert is not None and key is not None:
        return Certificates(TlsFiles(cert, key, _client_ca(settings)))
    if not settings.allow_plaintext and not is_loopback(settings.host):
        raise SettingsError(
            f"keys would travel in the clear to {settings.host}: set GRIDLOOM_TLS_CERT_FILE and"
            " GRIDLOOM_TLS_KEY_FILE, or GRIDLOOM_ALLOW_PLAINTEXT=true behind a front that ends TLS",
            field="host",
            given=settings.host,
        )
    return None


def _client_ca(settings: ServerSettings) -> Path | None:
    if not settings.tls_require_client:
        return None
    if settings.tls_ca_file is None:
        raise SettingsError(
            "whose certificates may clients show? Set GRIDLOOM_TLS_CA_FILE", field="tls_ca_file"
        )
    return settings.tls_ca_file


class CallerCredentials:
    """Whom this service trusts when it calls others, and what it shows them, as its files have it.

    While the files are wrong, as it was before.
    """

    def __init__(self, ca: Path, pair: tuple[Path, Path] | None, look_s: float = LOOK_S) -> None:
        """The files are looked at after `look_s`, not sooner. SettingsError: unreadable now."""
        self._ca, self._pair = ca, pair
        self._look_s = look_s
        self._look_at = time.monotonic() + look_s
        try:
            self._stamp = self._stamped()
            self.current = self._read()
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                f"other services cannot be called by TLS with {ca}: {_reason(error)}",
                field="tls_ca_file",
            ) from error

    def have_changed(self) -> bool:
        """Whether `current` is another than at the last question."""
        now = time.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + self._look_s
        try:
            stamp = self._stamped()
            if stamp == self._stamp:
                return False
            self._stamp = stamp
            self.current = self._read()
        except (OSError, ssl.SSLError) as error:
            _log.error("what other services are shown is wrong", extra={"reason": _reason(error)})
            return False
        return True

    def _stamped(self) -> Stamp:
        return _stamp(self._ca, *(self._pair or ()))

    def _read(self) -> grpc.ChannelCredentials:
        roots = self._ca.read_bytes()
        if self._pair is None:
            return grpc.ssl_channel_credentials(roots)
        cert, key = self._pair
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert, key)
        return grpc.ssl_channel_credentials(roots, key.read_bytes(), cert.read_bytes())


def caller_credentials(settings: ServerSettings) -> CallerCredentials | None:
    """With what this service calls others; None: plaintext. SettingsError for unreadable files."""
    ca, cert, key = settings.tls_ca_file, settings.tls_cert_file, settings.tls_key_file
    if ca is None:
        return None
    return CallerCredentials(ca, (cert, key) if cert is not None and key is not None else None)


def is_loopback(host: str) -> bool:
    """What is sent there does not leave this machine."""
    if host == "localhost" or host.startswith("unix:"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _stamp(*paths: Path) -> Stamp:
    files = [path.stat() for path in paths]
    return tuple((file.st_mtime_ns, file.st_ino, file.st_size) for file in files)


def _reason(error: OSError | ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)
