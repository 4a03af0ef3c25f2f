"""TLS of servers and between services. Certificates are files, read again when they change."""

from __future__ import annotations

import ipaddress
import logging
import ssl
from typing import TYPE_CHECKING

import grpc
from gridloom.values import dataclass

from gridloom_services.common.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from gridloom_services.common.settings import ServerSettings

_log = logging.getLogger(__name__)

Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where a process's certificate, its key and the CA of its callers are."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    def stamp(self) -> Stamp:
        """Changes when a file does, also one behind a link. OSError where one is missing."""
        files = [path.stat() for path in (self.cert, self.key, self.client_ca) if path]
        return tuple((file.st_mtime_ns, file.st_ino, file.st_size) for file in files)

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


def channel_credentials(settings: ServerSettings) -> grpc.ChannelCredentials | None:
    """With what this service calls others; None: plaintext. SettingsError for unreadable files."""
    if settings.tls_ca_file is None:
        return None
    try:
        roots = settings.tls_ca_file.read_bytes()
        key = settings.tls_key_file.read_bytes() if settings.tls_key_file else None
        cert = settings.tls_cert_file.read_bytes() if settings.tls_cert_file else None
    except OSError as error:
        raise SettingsError(
            f"{error.filename} cannot be read: {error.strerror}", field="tls_ca_file"
        ) from error
    return grpc.ssl_channel_credentials(roots, key, cert)


def is_loopback(host: str) -> bool:
    """What is sent there does not leave this machine."""
    if host == "localhost" or host.startswith("unix:"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _reason(error: OSError | ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)
