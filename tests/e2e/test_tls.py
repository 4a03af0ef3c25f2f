"""A platform of its own that is entered by TLS, with a certificate that somebody gave it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import gridloom
import pytest
import trustme
from gridloom.errors import TlsError

from tests.e2e.support.release import NAMESPACE, Release

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.cluster.cluster import Cluster

_NODE_PORT = 30152
_SECRET = "certificate"
_SETTINGS = (
    *("--set", "tls.mode=secret", "--set", f"tls.existingSecret={_SECRET}"),
    *("--set", f"front.service.nodePort={_NODE_PORT}"),
    *("--set", "postgresql.persistence.enabled=false"),
    *("--set", "objects.store.volume.persistent=false"),
)


@pytest.fixture
def authority(tmp_path: Path) -> tuple[trustme.CA, Path]:
    """Who issues certificates, and the file that clients know it by."""
    made = trustme.CA(key_type=trustme.KeyType.ECDSA)
    made.cert_pem.write_to_path(tmp_path / "ca.crt")
    return made, tmp_path / "ca.crt"


@pytest.fixture
def secure(
    cluster: Cluster, images: list[str], authority: tuple[trustme.CA, Path]
) -> Iterator[Release]:
    """A second installation, in a namespace of its own."""
    release = Release(cluster, f"{NAMESPACE}-tls")
    issued = authority[0].issue_cert(cluster.node_address(), key_type=trustme.KeyType.ECDSA)
    cluster.kubectl("create", "namespace", release.namespace)
    try:
        release.kubectl("apply", "-f", "-", text=json.dumps(_secret(authority[0], issued)))
        release.upgrade(*_SETTINGS)
        yield release
    finally:
        release.uninstall()


def test_a_certificate_that_was_given_is_shown_and_work_runs_behind_it(
    secure: Release,
    cluster: Cluster,
    authority: tuple[trustme.CA, Path],
    monkeypatch: pytest.MonkeyPatch,
):
    address, key = f"https://{cluster.node_address()}:{_NODE_PORT}", secure.admin_key()
    with pytest.raises(TlsError):
        gridloom.connect(address, api_key=key)
    monkeypatch.setenv("GRIDLOOM_TLS_CA_FILE", str(authority[1]))
    with gridloom.connect(address, api_key=key) as client:
        assert client.run(["true"], cpus=0.1).result(timeout="2m").exit_code == 0
        with client.pool(workers=1, cpus=0.1) as pool:
            assert list(pool.map(abs, [-1, -2])) == [1, 2]


def _secret(ca: trustme.CA, issued: trustme.LeafCert) -> dict[str, object]:
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": _SECRET},
        "type": "kubernetes.io/tls",
        "stringData": {
            "ca.crt": ca.cert_pem.bytes().decode(),
            "tls.crt": chain.decode(),
            "tls.key": issued.private_key_pem.bytes().decode(),
        },
    }
