"""An admission webhook that lets no pod of jobs through: it runs here, beside the tests."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import trustme

from tests.e2e.support.suites import own_address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.cluster.cluster import Cluster
    from tests.support.api_server import ApiServer

_NAME = "signatures.gridloom-e2e.test"


@contextlib.contextmanager
def refusing_webhook(
    cluster: Cluster | ApiServer, namespace: str, reason: str, address: str = ""
) -> Iterator[None]:
    """While it is there, pods of jobs in the namespace are refused for this reason."""
    authority, address = trustme.CA(), address or own_address()
    server = ThreadingHTTPServer((address, 0), _handler(reason))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(address).configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"https://{address}:{server.server_port}/"
    manifest = _manifest(url, authority.cert_pem.bytes(), namespace)
    try:
        cluster.kubectl("apply", "-f", "-", text=json.dumps(manifest))
        yield
    finally:
        cluster.kubectl("delete", "validatingwebhookconfiguration", _NAME, "--ignore-not-found")
        server.shutdown()
        server.server_close()


def _handler(reason: str) -> type[BaseHTTPRequestHandler]:
    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = {"code": 403, "message": reason}
            answer = {"uid": asked["request"]["uid"], "allowed": False, "status": status}
            words = json.dumps({**asked, "request": None, "response": answer}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(words)))
            self.end_headers()
            self.wfile.write(words)

        def log_message(self, *_words: object) -> None:
            """Quietly."""

    return Refusing


def _manifest(url: str, authority: bytes, namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": _NAME},
        "webhooks": [
            {
                "name": _NAME,
                "clientConfig": {"url": url, "caBundle": base64.b64encode(authority).decode()},
                "rules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE"],
                        "resources": ["pods"],
                    }
                ],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "objectSelector": {"matchLabels": {"app.kubernetes.io/component": "job"}},
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
            }
        ],
    }
