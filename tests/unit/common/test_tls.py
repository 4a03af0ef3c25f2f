"""TLS on a real port, with certificates made here."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
import pytest
import trustme
from gridloom_services.common.channels import ServiceChannels
from gridloom_services.common.errors import PortInUseError, SettingsError
from gridloom_services.common.interceptors.chain import CallRules
from gridloom_services.common.metrics import NO_METRICS
from gridloom_services.common.server import PlatformServer
from gridloom_services.common.settings import ServerSettings
from gridloom_services.common.stop import Stop
from gridloom_services.common.tls import (
    CallerCredentials,
    caller_credentials,
    is_loopback,
    server_certificates,
)
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.unit.common.conftest import TOKEN, EchoApp, EchoClient, serving_chain

if TYPE_CHECKING:
    from pathlib import Path

CA = trustme.CA(key_type=trustme.KeyType.ECDSA)
OWN_POOL = [("grpc.use_local_subchannel_pool", 1)]


def write(folder: Path, *names: str, ca: trustme.CA = CA) -> ServerSettings:
    """A certificate for these names, as files, and the settings that name them."""
    issued = ca.issue_cert(*names, key_type=trustme.KeyType.ECDSA)
    chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
    for name, data in (("tls.crt", chain), ("tls.key", issued.private_key_pem.bytes())):
        # As Kubernetes does: the new file takes the old one's place at once.
        (folder / f".{name}").write_bytes(data)
        (folder / f".{name}").replace(folder / name)
    ca.cert_pem.write_to_path(folder / "ca.crt")
    return ServerSettings(
        tls_cert_file=folder / "tls.crt",
        tls_key_file=folder / "tls.key",
        tls_ca_file=folder / "ca.crt",
    )


@asynccontextmanager
async def serving(settings: ServerSettings, app: EchoApp | None = None):
    certificates = server_certificates(settings)
    assert certificates is not None
    server = PlatformServer(CallRules(serving_chain(), NO_METRICS))
    server.bind("127.0.0.1", 0, credentials=certificates.credentials())
    server.add(app or EchoApp())
    await server.start()
    try:
        yield server
    finally:
        await server.stop(Stop(), grace_s=1)


async def asked(server: PlatformServer, host: str = "localhost", **credentials: bytes) -> bytes:
    """What a client that trusts our CA is answered over a connection of its own."""
    known = grpc.ssl_channel_credentials(CA.cert_pem.bytes(), **credentials)
    address = f"{host}:{server.address.rpartition(':')[2]}"
    async with grpc.aio.secure_channel(address, known, options=OWN_POOL) as channel:
        return await EchoClient(channel, TOKEN).unary(b"a", timeout=10)


async def test_a_client_that_trusts_the_certificate_is_answered(tmp_path):
    async with serving(write(tmp_path, "localhost")) as server:
        assert await asked(server) == b"echo a"


async def test_a_certificate_that_changes_counts_from_the_next_connection_on(tmp_path):
    async with serving(write(tmp_path, "localhost")) as server:
        await asked(server)
        write(tmp_path, "127.0.0.1")
        with pytest.raises(grpc.aio.AioRpcError, match="ostname"):
            await asked(server)
        assert await asked(server, "127.0.0.1") == b"echo a"


async def test_a_new_certificate_that_cannot_be_used_leaves_the_old_one(tmp_path, caplog):
    async with serving(write(tmp_path, "localhost")) as server:
        (tmp_path / "tls.crt").write_text("no certificate")
        assert await asked(server) == b"echo a"
        assert "cannot be used" in caplog.text
        (tmp_path / "tls.crt").unlink()
        assert await asked(server) == b"echo a"


async def test_the_processes_of_this_machine_need_no_tls(tmp_path):
    async with serving(write(tmp_path, "hpc.example.org")) as server:
        assert server.inner_address != server.address
        channels = ServiceChannels(TOKEN, {}, caller_credentials(write(tmp_path, "x")))
        channels.are_here(server.inner_address, ["echo"])
        client = EchoClient(channels.channel("echo"), TOKEN)
        assert await client.unary(b"a", timeout=10) == b"echo a"
        await channels.close()


async def test_services_show_each_other_their_certificates_where_that_is_asked(tmp_path):
    settings = write(tmp_path, "localhost", "127.0.0.1")
    mutual = ServerSettings(**_said(settings), tls_require_client=True)
    async with serving(mutual) as server:
        with pytest.raises(grpc.aio.AioRpcError):
            await asked(server)
        pair = {
            "private_key": (tmp_path / "tls.key").read_bytes(),
            "certificate_chain": (tmp_path / "tls.crt").read_bytes(),
        }
        assert await asked(server, **pair) == b"echo a"
        # It does not look like an address of this machine: with TLS, as to a service elsewhere.
        place = f"ipv4:{server.address}"
        channels = ServiceChannels(TOKEN, {"echo": place}, caller_credentials(settings))
        client = EchoClient(channels.channel("echo"), TOKEN)
        assert await client.unary(b"a", timeout=10) == b"echo a"
        await channels.close()


async def test_what_is_shown_to_other_services_follows_its_files(tmp_path):
    settings = write(tmp_path, "localhost", "127.0.0.1")
    shown = tmp_path / "caller"
    shown.mkdir()
    write(shown, "caller", ca=trustme.CA(key_type=trustme.KeyType.ECDSA))
    CA.cert_pem.write_to_path(shown / "ca.crt")
    async with serving(ServerSettings(**_said(settings), tls_require_client=True)) as server:
        credentials = CallerCredentials(
            shown / "ca.crt", (shown / "tls.crt", shown / "tls.key"), look_s=0
        )
        place = f"ipv4:{server.address}"
        channels = ServiceChannels(TOKEN, {"echo": place}, credentials)
        before = channels.channel("echo")
        with pytest.raises(grpc.aio.AioRpcError):
            await EchoClient(before, TOKEN).unary(b"a", timeout=10)
        assert channels.channel("echo") is before
        (shown / "tls.key").unlink()
        assert channels.channel("echo") is before
        write(shown, "caller")
        client = EchoClient(channels.channel("echo"), TOKEN)
        assert await client.unary(b"a", timeout=10) == b"echo a"
        await channels.close()


async def test_a_call_under_way_goes_on_when_what_is_shown_changes(tmp_path):
    settings = write(tmp_path, "localhost", "127.0.0.1")
    mutual = ServerSettings(**_said(settings), tls_require_client=True)
    arrived, may_answer = asyncio.Event(), asyncio.Event()

    async def slowly(request: bytes) -> None:
        del request
        arrived.set()
        await may_answer.wait()

    async with serving(mutual, EchoApp(slowly)) as server:
        files = (tmp_path / "tls.crt", tmp_path / "tls.key")
        credentials = CallerCredentials(tmp_path / "ca.crt", files, look_s=0)
        channels = ServiceChannels(TOKEN, {"echo": f"ipv4:{server.address}"}, credentials)
        before = channels.channel("echo")
        under_way = EchoClient(before, TOKEN).unary(b"a", timeout=10)
        await arrived.wait()
        write(tmp_path, "localhost", "127.0.0.1")
        assert channels.channel("echo") is not before
        await asyncio.sleep(0.05)
        may_answer.set()
        assert await under_way == b"echo a"
        await channels.close()


async def test_a_port_for_health_has_health_and_nothing_else(tmp_path):
    certificates = server_certificates(write(tmp_path, "hpc.example.org"))
    assert certificates is not None
    server = PlatformServer(CallRules(serving_chain(), NO_METRICS))
    server.bind("127.0.0.1", 0, credentials=certificates.credentials())
    port = server.bind_health("127.0.0.1", 0)
    server.add(EchoApp())
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest()
        answer = await health.Check(request, timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError, match="Method not found"):
            await EchoClient(channel, TOKEN).unary(b"a", timeout=10)
        await server.stop(Stop(), grace_s=1)
        with pytest.raises(grpc.aio.AioRpcError):
            await health.Check(request, timeout=1)


async def test_an_inner_port_has_everything_without_tls(tmp_path):
    certificates = server_certificates(write(tmp_path, "hpc.example.org"))
    assert certificates is not None
    server = PlatformServer(CallRules(serving_chain(), NO_METRICS))
    server.bind("127.0.0.1", 0, credentials=certificates.credentials())
    port = server.bind_inner("127.0.0.1", 0)
    with pytest.raises(PortInUseError, match=f"port {port} of 127.0.0.1"):
        server.bind_inner("127.0.0.1", port)
    server.add(EchoApp())
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert await EchoClient(channel, TOKEN).unary(b"a", timeout=10) == b"echo a"
        with pytest.raises(grpc.aio.AioRpcError, match="not this platform's"):
            await EchoClient(channel, "another").unary(b"a", timeout=10)
    await server.stop(Stop(), grace_s=1)


def _said(settings: ServerSettings) -> dict[str, Path | None]:
    names = ("tls_cert_file", "tls_key_file", "tls_ca_file")
    return {name: getattr(settings, name) for name in names}


class TestSettings:
    def test_without_a_certificate_only_this_machine_is_served(self):
        assert server_certificates(ServerSettings()) is None
        with pytest.raises(SettingsError, match=r"in the clear to 0\.0\.0\.0"):
            server_certificates(ServerSettings(host="0.0.0.0"))
        assert server_certificates(ServerSettings(host="0.0.0.0", allow_plaintext=True)) is None

    def test_a_certificate_without_its_key_is_refused(self, tmp_path):
        write(tmp_path, "localhost")
        with pytest.raises(SettingsError, match="GRIDLOOM_TLS_KEY_FILE"):
            server_certificates(ServerSettings(tls_cert_file=tmp_path / "tls.crt"))

    def test_files_that_are_missing_or_do_not_match_are_refused_at_the_start(self, tmp_path):
        settings = write(tmp_path, "localhost")
        other = CA.issue_cert("other")
        (tmp_path / "tls.key").write_bytes(other.private_key_pem.bytes())
        with pytest.raises(SettingsError, match="mismatch"):
            server_certificates(settings)
        (tmp_path / "tls.key").unlink()
        with pytest.raises(SettingsError, match="No such file"):
            server_certificates(settings)

    def test_whose_certificates_clients_may_show_must_be_said(self, tmp_path):
        said = _said(write(tmp_path, "localhost")) | {"tls_ca_file": None}
        with pytest.raises(SettingsError, match="GRIDLOOM_TLS_CA_FILE"):
            server_certificates(ServerSettings(**said, tls_require_client=True))
        with pytest.raises(SettingsError, match="No such file"):
            caller_credentials(ServerSettings(tls_ca_file=tmp_path / "none"))
        assert caller_credentials(ServerSettings()) is None

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"])
    def test_loopback_is_this_machine(self, host):
        assert is_loopback(host)

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "", "127.evil"])
    def test_everything_else_is_not(self, host):
        assert not is_loopback(host)


def test_our_test_certificates_are_sound(tmp_path):
    settings = write(tmp_path, "localhost")
    context = ssl.create_default_context(cafile=settings.tls_ca_file)
    assert context.get_ca_certs()
