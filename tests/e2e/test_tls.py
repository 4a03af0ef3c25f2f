"""TLS: between the services, and of a platform of its own with a certificate that it was given."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import gridloom
import pytest
import trustme
from gridloom.errors import TlsError

from tests.e2e.support.release import NAMESPACE, SERVICES, Release

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


# In a pod that holds the services' certificate: how another service takes three kinds of callers.
_CALLERS = """
import json, pathlib, grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

folder = pathlib.Path("/etc/gridloom/internal")
ca, crt, key = ((folder / name).read_bytes() for name in ("ca.crt", "tls.crt", "tls.key"))
channels = {
    "in clear": lambda address: grpc.insecure_channel(address),
    "with nothing to show": lambda address: grpc.secure_channel(
        address, grpc.ssl_channel_credentials(ca)
    ),
    "a service": lambda address: grpc.secure_channel(
        address, grpc.ssl_channel_credentials(ca, key, crt)
    ),
}

def answer(address, channel):
    try:
        request = health_pb2.HealthCheckRequest()
        return health_pb2_grpc.HealthStub(channel(address)).Check(request, timeout=5).status
    except grpc.RpcError as error:
        return error.code().name

print(json.dumps({
    service: {who: answer(f"gridloom-{service}:50051", each) for who, each in channels.items()}
    for service in ("scheduler", "functions", "objects", "mpi")
}))
"""


def test_services_let_in_only_who_shows_a_certificate_of_theirs(release: Release):
    words = ("exec", "deployment/gridloom-objects", "--", "python", "-c", _CALLERS)
    found = json.loads(release.kubectl(*words))
    assert found.keys() == set(SERVICES)
    for answers in found.values():
        assert answers == {
            "in clear": "UNAVAILABLE",
            "with nothing to show": "UNAVAILABLE",
            "a service": 1,
        }


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
