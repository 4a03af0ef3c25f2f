"""What a user is told when TLS stands between the client and the platform."""

from __future__ import annotations

import datetime as dt
from concurrent import futures
from contextlib import contextmanager
from typing import TYPE_CHECKING

import gridloom
import grpc
import pytest
import trustme
from gridloom.api.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from gridloom.endpoint import Endpoint
from gridloom.errors import InvalidRequestError, TlsError
from gridloom.tls_trouble import tls_trouble

if TYPE_CHECKING:
    from collections.abc import Iterator

CA = trustme.CA(key_type=trustme.KeyType.ECDSA)
LONG_AGO = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)
FAR_AHEAD = dt.datetime(2090, 1, 1, tzinfo=dt.UTC)


class Servicer(scheduler_pb2_grpc.SchedulerServiceServicer):
    def ListQueues(self, request, context):  # noqa: N802
        return scheduler_pb2.ListQueuesResponse()


@contextmanager
def serving(*names: str, **certificate: object) -> Iterator[str]:
    """A platform on a port: with a certificate for these names, or none without names."""
    server = grpc.server(futures.ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
    scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server(Servicer(), server)
    if names:
        issued = CA.issue_cert(*names, key_type=trustme.KeyType.ECDSA, **certificate)
        chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
        credentials = grpc.ssl_server_credentials([(issued.private_key_pem.bytes(), chain)])
        port = server.add_secure_port("127.0.0.1:0", credentials)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


@pytest.fixture
def ca_file(tmp_path, monkeypatch):
    """Our CA, as a file that the environment names."""
    CA.cert_pem.write_to_path(tmp_path / "ca.crt")
    monkeypatch.setenv("GRIDLOOM_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("GRIDLOOM_TLS_CA_FILE", str(tmp_path / "ca.crt"))
    return tmp_path / "ca.crt"


def test_a_platform_whose_ca_is_named_is_entered(ca_file):
    with serving("127.0.0.1") as address, gridloom.connect(f"grpcs://{address}", api_key="k") as c:
        assert c.queues() == []


@pytest.mark.parametrize(
    ("scheme", "names", "certificate", "sentence"),
    [
        ("grpc", ("127.0.0.1",), {}, "speaks TLS: connect to grpcs://127.0.0.1"),
        ("grpcs", (), {}, "does not speak TLS: connect to grpc://127.0.0.1"),
        ("grpcs", ("hpc.example.org",), {}, "is for another name"),
        (
            "grpcs",
            ("127.0.0.1",),
            {"not_before": LONG_AGO, "not_after": LONG_AGO + dt.timedelta(days=1)},
            "has expired",
        ),
        ("grpcs", ("127.0.0.1",), {"not_before": FAR_AHEAD}, "not valid yet"),
    ],
)
def test_what_is_wrong_is_said_at_once(ca_file, scheme, names, certificate, sentence):
    if "not_before" in certificate and "not_after" not in certificate:
        certificate = {**certificate, "not_after": FAR_AHEAD + dt.timedelta(days=1)}
    with serving(*names, **certificate) as address, pytest.raises(TlsError, match=sentence):
        gridloom.connect(f"{scheme}://{address}", api_key="k", timeout=30)


def test_a_certificate_of_an_unknown_ca_is_refused_with_what_to_do(ca_file):
    trustme.CA().cert_pem.write_to_path(ca_file)
    sentence = r"signed by nobody among .*ca\.crt"
    with serving("127.0.0.1") as address, pytest.raises(TlsError, match=sentence):
        gridloom.connect(f"grpcs://{address}", api_key="k", timeout=30)


async def test_the_asyncio_face_says_the_same(ca_file):
    with serving("hpc.example.org") as address, pytest.raises(TlsError, match="another name"):
        await gridloom.aio.connect(f"grpcs://{address}", api_key="k", timeout=30)


def test_a_ca_file_that_cannot_be_read_is_named(ca_file):
    ca_file.unlink()
    with pytest.raises(InvalidRequestError, match=r"ca\.crt"):
        gridloom.connect("grpcs://127.0.0.1:1", api_key="k", timeout=5)


def test_a_port_where_nobody_listens_has_no_trouble_with_tls():
    assert tls_trouble(Endpoint("127.0.0.1:1", tls=True)) is None
    assert tls_trouble(Endpoint("127.0.0.1:1")) is None
