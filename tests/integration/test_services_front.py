"""One address in front: nginx with the configuration that is deployed."""

from __future__ import annotations

import hashlib
import itertools
import ssl
import subprocess
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import grpc
import pytest
import trustme

from tests.support.eventually import eventually_now
from tests.support.front import Front, free_port, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AREAS = ("scheduler", "functions", "objects", "mpi")
MIB = 1 << 20
_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0))


class Area(grpc.GenericRpcHandler):
    """A service of one area: what each method does is its name."""

    def __init__(
        self, name: str, port: int, credentials: grpc.ServerCredentials | None = None
    ) -> None:
        self.name = name
        self.port = port
        self.sent = 0
        self._credentials = credentials

    def service(self, handler_call_details: Any) -> Any:
        method = handler_call_details.method.rpartition("/")[2]
        return grpc.stream_stream_rpc_method_handler(getattr(self, method.lower()))

    def name_it(self, requests: Any, _: Any) -> Iterator[bytes]:
        yield f"{self.name} {len(list(requests))}".encode()

    def echo(self, requests: Iterator[bytes], _: Any) -> Iterator[bytes]:
        yield from requests

    def flood(self, _requests: Any, context: Any) -> Iterator[bytes]:
        for self.sent in itertools.count():
            if not context.is_active():
                return
            yield bytes(MIB)

    def answer(self, _requests: Any, _: Any) -> Iterator[bytes]:
        yield b"there already"

    def refuse(self, _requests: Any, context: Any) -> Iterator[bytes]:
        context.set_trailing_metadata((("reason-bin", b"\x00\x01"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not so")
        yield b""

    def __enter__(self) -> Self:
        self._server = grpc.server(ThreadPoolExecutor(8), handlers=[self], options=_OPTIONS)
        where = f"127.0.0.1:{self.port}"
        if self._credentials is None:
            self._server.add_insecure_port(where)
        else:
            self._server.add_secure_port(where, self._credentials)
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(0).wait()


@pytest.fixture(scope="module")
def nginx() -> Path:
    found = program()
    if found is None:
        pytest.skip("nginx is not installed here, and its package cannot be fetched")
    return found


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    return {area: free_port() for area in AREAS}


@pytest.fixture
def areas(ports: dict[str, int]) -> Iterator[dict[str, Area]]:
    made = {area: Area(area, port) for area, port in ports.items()}
    for area in made.values():
        area.__enter__()
    yield made
    for area in made.values():
        area.__exit__()


@pytest.fixture(scope="module")
def front(
    nginx: Path, ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    addresses = {area: f"127.0.0.1:{port}" for area, port in ports.items()}
    with Front(nginx, addresses, tmp_path_factory.mktemp("front"), inner_port=free_port()) as front:
        yield front


@pytest.fixture
def channel(front: Front) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(front.address, options=_OPTIONS) as channel:
        yield channel


def call(channel: grpc.Channel, area: str, method: str, requests: Any = (), **more: Any) -> Any:
    path = f"/gridloom.api.{area}.v1.Service/{method}"
    return channel.stream_stream(path)(iter(requests), timeout=60, **more)


@pytest.mark.parametrize("area", AREAS)
def test_each_area_is_passed_to_its_service(areas, channel, area):
    assert list(call(channel, area, "Name_It", [b"a", b"b"])) == [f"{area} 2".encode()]


def test_health_and_reflection_are_the_schedulers(areas, channel):
    for path in ("/grpc.health.v1.Health/Name_It", "/grpc.reflection.v1.Reflection/Name_It"):
        assert list(channel.stream_stream(path)(iter([]))) == [b"scheduler 0"]


def test_another_method_is_refused_as_unimplemented(areas, channel):
    with pytest.raises(grpc.RpcError) as caught:
        list(call(channel, "weather", "Name_It"))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "no service of this platform" in caught.value.details()


def test_statuses_and_trailers_arrive_as_they_were_sent(areas, channel):
    refused = call(channel, "objects", "Refuse")
    with pytest.raises(grpc.RpcError) as caught:
        list(refused)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert ("reason-bin", b"\x00\x01") in refused.trailing_metadata()


def test_large_messages_pass_both_ways(areas, channel):
    data = bytes(60 * MIB)
    (answer,) = call(channel, "functions", "Echo", [data])
    assert answer == data


def test_each_message_of_a_conversation_is_passed_on_at_once(areas, channel):
    said: Any = iter([b"1", b"2", b"3"])
    turn = threading.Semaphore(1)

    def speak() -> Iterator[bytes]:
        for word in said:
            turn.acquire()
            yield word

    heard = []
    for word in call(channel, "functions", "Echo", speak()):
        heard.append(word)
        turn.release()
    assert heard == [b"1", b"2", b"3"]


def test_who_does_not_read_stops_the_sender(areas, channel):
    flood = call(channel, "objects", "Flood")
    next(flood)
    sent = -1
    while sent != areas["objects"].sent:
        sent = areas["objects"].sent
        time.sleep(0.3)
    flood.cancel()
    assert sent < 100


def test_a_service_that_is_not_there_is_unavailable_and_the_others_are_there(areas, channel):
    areas["functions"].__exit__()
    with pytest.raises(grpc.RpcError) as caught:
        list(call(channel, "functions", "Name_It"))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert list(call(channel, "objects", "Name_It")) == [b"objects 0"]


def test_an_open_stream_ends_as_unavailable_with_its_service_and_the_next_is_served(areas, channel):
    silent = threading.Event()

    def speak() -> Iterator[bytes]:
        yield b"hello"
        silent.wait(60)

    stream = call(channel, "functions", "Echo", speak())
    assert next(stream) == b"hello"
    areas["functions"].__exit__()
    with pytest.raises(grpc.RpcError) as caught:
        next(stream)
    silent.set()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    areas["functions"].__enter__()
    assert list(call(channel, "functions", "Name_It")) == [b"functions 0"]


@pytest.mark.parametrize("speaks", ["nothing", "a word, and stays", "on and on"])
def test_an_early_answer_or_refusal_arrives_whatever_the_client_still_says(areas, channel, speaks):
    over = threading.Event()

    def speak() -> Iterator[bytes]:
        if speaks != "nothing":
            yield b"a word"
        if speaks == "on and on":
            yield from itertools.repeat(bytes(MIB), 20)
        if speaks != "nothing":
            over.wait(60)

    answered = call(channel, "objects", "Answer", speak())
    assert list(answered) == [b"there already"]
    with pytest.raises(grpc.RpcError) as caught:
        list(call(channel, "objects", "Refuse", speak()))
    over.set()
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_its_own_health_and_metrics_are_on_a_port_of_their_own(areas, front, channel):
    list(call(channel, "objects", "Name_It"))
    where = f"http://127.0.0.1:{front.status_port}"
    with urllib.request.urlopen(f"{where}/health") as answer:
        assert answer.read() == b"ok\n"
    with urllib.request.urlopen(f"{where}/metrics") as answer:
        assert answer.read().splitlines()[-1].startswith(b"gridloom_front_connections ")


def test_the_configuration_has_no_warnings(front):
    assert front.check() == ""


def test_it_waits_until_the_names_of_the_services_are_known(nginx, ports, areas, tmp_path):
    forgetful = tmp_path / "nginx"
    forgetful.write_text(
        "#!/bin/sh\n"
        f"if mkdir {tmp_path}/asked 2>/dev/null; then\n"
        "  echo 'nginx: [emerg] host not found in upstream \"scheduler:50051\"' >&2; exit 1\n"
        "fi\n"
        f'exec {nginx} "$@"\n'
    )
    forgetful.chmod(0o755)
    addresses = {area: f"127.0.0.1:{port}" for area, port in ports.items()}
    with (
        Front(forgetful, addresses, tmp_path) as front,
        grpc.insecure_channel(front.address) as channel,
    ):
        grpc.channel_ready_future(channel).result(60)
        assert list(call(channel, "objects", "Name_It"))


def certificate(folder: Path) -> tuple[Path, Path]:
    """For localhost, signed by itself: the certificate and its key."""
    chain, key = folder / "tls.crt", folder / "tls.key"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command = ["openssl", "req", "-x509", *kind, "-keyout", key, "-out", chain, *subject]
    subprocess.run(command, check=True, capture_output=True)
    return chain, key


def serial_of(port: int) -> str:
    """Of the certificate that is shown there."""
    pem = ssl.get_server_certificate(("127.0.0.1", port))
    return hashlib.sha256(pem.encode()).hexdigest()


def test_with_a_certificate_only_tls_is_spoken_but_on_the_inner_port(nginx, ports, areas, tmp_path):
    chain, key = certificate(tmp_path)
    addresses = {area: f"127.0.0.1:{port}" for area, port in ports.items()}
    inner = free_port()
    tls = {"cert_file": chain, "key_file": key, "look_seconds": 1, "inner_port": inner}
    with Front(nginx, addresses, tmp_path, **tls) as front:
        trusted = grpc.ssl_channel_credentials(chain.read_bytes())
        with grpc.secure_channel(f"localhost:{front.port}", trusted) as channel:
            assert list(call(channel, "objects", "Name_It")) == [b"objects 0"]
        with grpc.insecure_channel(front.address) as channel:
            with pytest.raises(grpc.RpcError) as caught:
                list(call(channel, "objects", "Name_It"))
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        with grpc.insecure_channel(f"127.0.0.1:{inner}") as channel:
            assert list(call(channel, "objects", "Name_It")) == [b"objects 0"]
        before = serial_of(front.port)
        certificate(tmp_path)
        eventually_now(lambda: serial_of(front.port) != before)


def test_services_are_spoken_to_by_tls_and_must_be_those_of_the_authority(nginx, tmp_path):
    chain, key = certificate(tmp_path)
    own = grpc.ssl_server_credentials([(key.read_bytes(), chain.read_bytes())])
    other = tmp_path / "other"
    other.mkdir()
    for authority, code in ((chain, None), (certificate(other)[0], grpc.StatusCode.UNAVAILABLE)):
        with Area("objects", free_port(), own) as area:
            addresses = dict.fromkeys(AREAS, f"localhost:{area.port}")
            with (
                Front(nginx, addresses, tmp_path, services_ca_file=authority) as front,
                grpc.insecure_channel(front.address) as channel,
            ):
                answered = call(channel, "objects", "Name_It")
                if code is None:
                    assert list(answered) == [b"objects 0"]
                else:
                    with pytest.raises(grpc.RpcError):
                        list(answered)
                    assert answered.code() is code


def test_services_that_ask_for_a_certificate_are_shown_its_own_as_its_files_have_it(
    nginx, tmp_path
):
    authority, stranger = (trustme.CA(key_type=trustme.KeyType.ECDSA) for _ in range(2))
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    files = {"services_cert_file": tmp_path / "own.crt", "services_key_file": tmp_path / "own.key"}

    def show(ca: trustme.CA) -> None:
        issued = ca.issue_cert("front", key_type=trustme.KeyType.ECDSA)
        issued.cert_chain_pems[0].write_to_path(files["services_cert_file"])
        issued.private_key_pem.write_to_path(files["services_key_file"])

    def is_let_in() -> bool:
        answered = call(channel, "objects", "Name_It")
        try:
            return list(answered) == [b"objects 0"]
        except grpc.RpcError:
            assert answered.code() is grpc.StatusCode.UNAVAILABLE
            return False

    issued = authority.issue_cert("localhost", key_type=trustme.KeyType.ECDSA)
    pair = (issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes())
    mutual = grpc.ssl_server_credentials(
        [pair], root_certificates=authority.cert_pem.bytes(), require_client_auth=True
    )
    show(stranger)
    with (
        Area("objects", free_port(), mutual) as area,
        Front(
            nginx,
            dict.fromkeys(AREAS, f"localhost:{area.port}"),
            tmp_path,
            services_ca_file=tmp_path / "ca.crt",
            look_seconds=1,
            **files,
        ) as front,
        grpc.insecure_channel(front.address) as channel,
    ):
        assert front.check() == ""
        assert not is_let_in()
        show(authority)
        eventually_now(is_let_in)
