"""Why nobody answers, where it is TLS: one look at the port, in words that say what to change.

gRPC tells of all of these as "connection failed". So after a failure, and only then, the port is
asked once more by Python's own `ssl`, which knows the reasons by name.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

from gridloom.errors import InvalidRequestError, TlsError

if TYPE_CHECKING:
    from gridloom.endpoint import Endpoint

_PATIENCE_S = 3.0
_EXPIRED = 10
_NOT_YET_VALID = 9
_WRONG_NAME = 62
_WRONG_ADDRESS = 64


def tls_trouble(endpoint: Endpoint) -> TlsError | None:
    """What is wrong with TLS between here and the platform; None: that is not the trouble."""
    host, _, port = endpoint.address.rpartition(":")
    context = _context(endpoint)
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _PATIENCE_S) as plain:
            plain.settimeout(_PATIENCE_S)
            with context.wrap_socket(plain, server_hostname=host.strip("[]")):
                return None if endpoint.tls else _needed(endpoint.address)
    except ssl.SSLCertVerificationError as error:
        return _refused(endpoint, error)
    except ssl.SSLError as error:
        wrong = error.reason == "WRONG_VERSION_NUMBER"
        return _not_spoken(endpoint.address) if endpoint.tls and wrong else None
    except OSError:
        return None


def _context(endpoint: Endpoint) -> ssl.SSLContext:
    if endpoint.tls:
        try:
            context = ssl.create_default_context(cafile=endpoint.ca_file or None)
        except (OSError, ssl.SSLError) as error:
            raise InvalidRequestError(
                f"the certificates in {endpoint.ca_file} cannot be used: {error}", field="ca_file"
            ) from None
    else:
        # Only to learn whether TLS is spoken there at all: nothing is sent.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


def _needed(address: str) -> TlsError:
    return TlsError(f"the platform at {address} speaks TLS: connect to grpcs://{address}")


def _not_spoken(address: str) -> TlsError:
    return TlsError(
        f"the platform at {address} does not speak TLS: connect to grpc://{address}, where keys may"
        " travel in the clear"
    )


def _refused(endpoint: Endpoint, error: ssl.SSLCertVerificationError) -> TlsError:
    code, address = error.verify_code, endpoint.address
    whom = endpoint.ca_file or "the certificates that this system trusts"
    sentences = {
        _EXPIRED: f"the certificate of {address} has expired",
        _NOT_YET_VALID: f"the certificate of {address} is not valid yet: do the clocks differ?",
        _WRONG_NAME: f"the certificate of {address} is for another name: {error.verify_message}",
        _WRONG_ADDRESS: f"the certificate of {address} is for another name: {error.verify_message}",
    }
    unknown = (
        f"the certificate of {address} is signed by nobody among {whom}"
        f" ({error.verify_message}): name its CA with --ca-file or GRIDLOOM_TLS_CA_FILE"
    )
    return TlsError(sentences.get(code, unknown))
